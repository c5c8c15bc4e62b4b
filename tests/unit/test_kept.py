"""Results kept by identity: found, checked, restored, replaced."""

import os
import time

import pytest

from ssc.workflow import kept


def test_a_kept_result_outlives_its_file(tmp_path):
    path = tmp_path / "a[1].zip"  # brackets mean something in patterns
    path.write_bytes(b"result")
    kept.keep(path, "0123")
    path.unlink()
    assert kept.intact(path, "0123") and not kept.intact(path, "4567")
    os.utime(kept.find(path, "0123"), (0, 0))
    kept.restore(path, "0123")
    assert path.read_bytes() == b"result"
    # Younger than what it is made from, or Snakemake would make it again.
    assert path.stat().st_mtime > time.time() - 60
    assert kept.intact(path, "0123")


def test_a_kept_result_takes_no_room_and_one_stays(tmp_path):
    path, other = tmp_path / "a.zip", tmp_path / "a.zip.b"
    other.write_bytes(b"of another output")
    kept.keep(other, "0123")
    for content, identity in ((b"one", "0123"), (b"two", "0123"), (b"three", "4567")):
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        kept.keep(path, identity)
        (link,) = kept.hidden(path, "*.*.kept")
        assert link.samefile(path) and kept.intact(path, identity)
    assert kept.find(path, "0123") is None
    assert kept.intact(other, "0123")


def test_a_damaged_one_is_not_intact(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"result")
    kept.keep(path, "0123")
    path.write_bytes(b"resulT")
    assert not kept.intact(path, "0123")


def test_nothing_is_kept_where_links_are_unknown(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "a.zip"
    path.write_bytes(b"result")
    monkeypatch.setattr(os, "link", refuse)
    kept.keep(path, "0123")
    assert kept.find(path, "0123") is None and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["classifier.safetensors", "1-of-2.zip", "a b'$.json"])
def test_names(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"x")
    kept.keep(path, "0123456789abcdef")
    assert kept.find(path, "0123456789abcdef").name.startswith(f".{name}.0123456789abcdef.")
