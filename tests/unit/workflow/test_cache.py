"""The cache beside outputs: found, checked, restored, replaced, and gone on with after a kill at any moment."""

import errno
import fcntl
import glob
import io
import logging
import os
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc import archive
from ssc.archive import Archive
from ssc.runtime import files
from ssc.runtime.errors import InputError
from ssc.workflow import cache

A, B = "0123456789abcdef", "fedcba9876543210"  # fingerprints
KEY = "0011223344556677"
NAMES = ["a", "b/c", "ü", "d"]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """No test cuts the power, so that none needs to wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def hidden(path):
    """Files of the cache, and others that begin like them."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*"))


def raise_error(*args, **kwargs):
    raise PermissionError(errno.EPERM, "Operation not permitted")


# Finished outputs.


def test_a_finished_output_outlives_its_deletion(tmp_path):
    path = tmp_path / "a[1].zip"  # brackets mean something in patterns
    path.write_bytes(b"result")
    os.utime(path, (0, 0))
    cache.keep(path, A)
    path.unlink()
    assert cache.intact(path, A)
    assert not cache.intact(path, B)
    cache.restore(path, A)
    assert path.read_bytes() == b"result"
    assert path.stat().st_mtime > time.time() - 60  # or Snakemake would make it again
    assert cache.intact(path, A)


def test_the_cache_takes_no_room_and_holds_the_last_alone(tmp_path):
    path, other = tmp_path / "a.zip", tmp_path / "a.zip.b"
    other.write_bytes(b"of another output")
    cache.keep(other, A)
    for content, fingerprint in ((b"one", A), (b"one", A), (b"two", A), (b"three", B)):
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        for _ in range(2):  # the second time in place of itself
            cache.keep(path, fingerprint)
            (link,) = set(hidden(path)) - set(hidden(other))
            assert link.samefile(path)
            assert cache.intact(path, fingerprint)
    assert not cache.intact(path, A)
    assert cache.intact(other, A)


@pytest.mark.parametrize("damage", [b"resulT", b"resul", b""])
def test_a_damaged_output_is_not_intact(tmp_path, damage):
    path = tmp_path / "a.zip"
    path.write_bytes(b"result")
    cache.keep(path, A)
    path.write_bytes(damage)  # the link is the same file
    assert not cache.intact(path, A)


def test_the_whole_one_of_two_is_restored(tmp_path):
    """A kill between linking and deleting leaves two; the first of them by name is damaged."""
    path = tmp_path / "a.zip"
    (tmp_path / f".a.zip.{A}.{'0' * 16}.cache").write_bytes(b"damaged")
    earlier = {each: each.read_bytes() for each in hidden(path)}
    path.write_bytes(b"result")
    cache.keep(path, A)
    for each, content in earlier.items():
        each.write_bytes(content)
    path.unlink()
    assert cache.intact(path, A)
    cache.restore(path, A)
    assert path.read_bytes() == b"result"


def test_nothing_is_cached_without_hard_links(tmp_path, monkeypatch):
    path = tmp_path / "x.zip"
    monkeypatch.setattr(os, "link", raise_error)
    assert fill(path, NAMES) == NAMES
    assert not cache.intact(path, A)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("function", ["link", "utime"])
def test_another_users_file_is_copied(tmp_path, monkeypatch, function):
    path = tmp_path / "a.zip"
    path.write_bytes(b"result")
    cache.keep(path, A)
    path.unlink()
    monkeypatch.setattr(os, function, raise_error)
    cache.restore(path, A)
    (link,) = hidden(path)
    assert path.read_bytes() == link.read_bytes() == b"result"
    assert not path.samefile(link)


@pytest.mark.parametrize("name", ["classifier.safetensors", "1-of-2.zip", "a b'$.json"])
def test_names_of_hidden_files(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"x")
    cache.keep(path, A)
    assert [each.name for each in hidden(path)] == [f".{name}.{A}.2d711642b726b044.cache"]  # SHA-256 of x


# Archives.


def keys_of(*names, key=KEY):
    return {f"{name}.png": key for name in names}


def content_of(name, fingerprint, key):
    return f"{name} {fingerprint[:2]} {key[:2]}".encode()


def fill(path, names, *, fingerprint=A, keys=None, stop_after=None, done=lambda name: None):
    """Write one member per name, whose content tells what it is made from; returns the members that were added."""
    made, keys = [], keys or keys_of(*names)
    with cache.resume(path, fingerprint=fingerprint, keys=keys) as out:
        for name in names:
            if f"{name}.png" in out:
                continue
            if len(made) == stop_after:
                raise KeyboardInterrupt
            out.add_bytes(f"{name}.png", content_of(name, fingerprint, keys[f"{name}.png"]))
            made.append(name)
            done(name)
    return made


def wanted(names, *, fingerprint=A, keys=None):
    """Bytes of that archive, by the standard library alone."""
    keys, buffer = keys or keys_of(*names), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as members:
        for name in keys:
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.extra = b"SS\x08\x00" + bytes.fromhex(keys[name])
            members.writestr(member, content_of(name.removesuffix(".png"), fingerprint, keys[name]))
    return buffer.getvalue()


def break_off(path, names, stop_after, **options):
    with pytest.raises(KeyboardInterrupt):
        fill(path, names, stop_after=stop_after, **options)
    return path.with_name(f".{path.name}.{options.get('fingerprint', A)}.cache")


def assert_clean(path):
    """Beside an archive lies nothing but its link."""
    (link,) = set(path.parent.iterdir()) - {path}
    assert link.samefile(path)


@pytest.mark.parametrize("stop_after", range(5))
def test_a_broken_off_archive_goes_on_where_it_was(tmp_path, stop_after, caplog):
    path = tmp_path / "new" / "x.zip"
    if stop_after < len(NAMES):
        break_off(path, NAMES, stop_after)
        assert not path.exists()
    else:
        fill(path, NAMES)
    with caplog.at_level(logging.INFO):
        assert fill(path, NAMES) == NAMES[stop_after:]
    told = [f"x.zip: {stop_after} of 4 members are there already."] if stop_after else []
    assert caplog.messages == told
    assert path.read_bytes() == wanted(NAMES)
    assert_clean(path)


def test_labels_and_arrays_go_the_same_way(tmp_path):
    with cache.resume(tmp_path / "x.zip", fingerprint=A, keys={"a.png": KEY, "b.npz": KEY}) as out:
        out.add_arrays("b", x=np.arange(3))
        assert "b.npz" in out
        assert "a.png" not in out
        out.add_labels("a", np.eye(4, dtype=int))
    with archive.write(tmp_path / "y.zip") as plain:
        for name, data in (
            ("a.png", archive.encode_labels(np.eye(4, dtype=int))),
            ("b.npz", Archive(tmp_path / "x.zip").read_bytes("b.npz")),
        ):
            plain.add_bytes(name, data, extra=b"SS\x08\x00" + bytes.fromhex(KEY))
    assert (tmp_path / "x.zip").read_bytes() == (tmp_path / "y.zip").read_bytes()
    assert Archive(tmp_path / "x.zip").arrays("b")["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("finished", [False, True])
def test_an_archive_cut_off_at_any_byte_loses_what_is_cut(tmp_path, finished):
    path = tmp_path / "x.zip"
    if finished:
        fill(path, NAMES)
        (file,) = hidden(path)
    else:
        file = break_off(path, NAMES, 3)
    content = file.read_bytes()
    with zipfile.ZipFile(file) as members:
        ends = [*(member.header_offset for member in members.infolist()), members.start_dir][1:]
    for cut in range(ends[-1] + 2):
        for left in hidden(path):
            left.unlink()
        path.unlink(missing_ok=True)
        file.write_bytes(content[:cut])
        assert fill(path, NAMES) == NAMES[sum(end <= cut for end in ends) :]
        assert path.read_bytes() == wanted(NAMES)
        assert_clean(path)


@pytest.mark.parametrize("finished", [False, True])
def test_a_flipped_bit_is_not_reused(tmp_path, finished):
    path = tmp_path / "x.zip"
    if finished:
        fill(path, NAMES)
        (file,) = hidden(path)
    else:
        file = break_off(path, NAMES, 3)
    content = file.read_bytes()
    for position in range(content.index(b"PK\x01\x02")):  # up to the directory at the end, which nobody reads
        for left in hidden(path):
            left.unlink()
        path.unlink(missing_ok=True)
        flipped = content[position] ^ (1 << position % 8)
        file.write_bytes(content[:position] + bytes([flipped]) + content[position + 1 :])
        fill(path, NAMES)
        assert path.read_bytes() == wanted(NAMES)


def test_another_fingerprint_reuses_nothing(tmp_path):
    path = tmp_path / "x.zip"
    fill(path, NAMES, fingerprint=B)
    path.unlink()  # as Snakemake does
    stale = break_off(path, NAMES, 2, fingerprint=B, keys=keys_of(*NAMES, key="f" * 16))
    own = break_off(path, NAMES, 2)
    assert own.exists()
    assert not stale.exists()
    assert cache.intact(path, B)  # should the setting be changed back before the end
    assert fill(path, NAMES) == NAMES[2:]
    assert path.read_bytes() == wanted(NAMES)
    assert_clean(path)


@pytest.mark.parametrize("deleted", [True, False])
def test_a_rerun_makes_the_changed_members_alone(tmp_path, deleted):
    path = tmp_path / "x.zip"
    fill(path, NAMES)
    first = tmp_path / "first"
    os.link(path, first)
    if deleted:  # as Snakemake does
        path.unlink()
    changed = {**keys_of("a", "d", "e"), "a.png": "f" * 16}
    assert fill(path, ["a", "d", "e"], keys=changed) == ["a", "e"]
    assert path.read_bytes() == wanted(["a", "d", "e"], keys=changed)
    assert first.read_bytes() == wanted(NAMES)  # nothing was written into the linked file
    first.unlink()
    assert_clean(path)


@pytest.mark.parametrize("fingerprint", [A, B])
def test_a_second_writer_is_refused_and_disturbs_nothing(tmp_path, fingerprint):
    path = tmp_path / "x.zip"

    def second(name):
        child = os.fork()  # a job of its own: a process may lock a file again
        if not child:
            try:
                fill(path, NAMES, fingerprint=fingerprint)
            except InputError as error:
                os._exit(7 if f"Another job is still writing {path}; wait" in str(error) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    assert fill(path, NAMES, done=second) == NAMES
    assert path.read_bytes() == wanted(NAMES)
    assert_clean(path)


def test_a_writer_that_has_just_ended_is_told(tmp_path, monkeypatch):
    path = tmp_path / "x.zip"
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: Path(handle.name).unlink())
    with pytest.raises(InputError, match="Another job is still writing"):
        fill(path, NAMES)


def test_a_file_system_without_locks(tmp_path, monkeypatch, caplog):
    path = tmp_path / "x.zip"
    monkeypatch.setattr(fcntl, "flock", raise_error)
    with caplog.at_level(logging.INFO):
        assert fill(path, NAMES) == NAMES
    assert caplog.messages == [f"The file system of {path} knows no locks."]
    assert path.read_bytes() == wanted(NAMES)


def test_members_changed_while_they_wait_are_told(tmp_path):
    path = tmp_path / "x.zip"
    fill(path, NAMES)
    with (
        pytest.raises(InputError, match="changed while it was read"),
        cache.resume(path, fingerprint=A, keys=keys_of(*NAMES)),
    ):
        path.write_bytes(path.read_bytes().replace(b"d 01 00", b"e 01 00"))


def test_a_full_disk_is_told_of_the_archive(tmp_path):
    path = tmp_path / "x.zip"
    with pytest.raises(OSError) as info, cache.resume(path, fingerprint=A, keys={}):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert info.value.filename == str(path)


def test_order_of_adding_does_not_count(tmp_path):
    path = tmp_path / "x.zip"
    fill(path, NAMES[::-1], keys=keys_of(*NAMES))
    assert path.read_bytes() == wanted(NAMES)


def test_an_archive_without_members(tmp_path):
    with cache.resume(tmp_path / "x.zip", fingerprint=A, keys={}):
        pass
    assert Archive(tmp_path / "x.zip").ids() == []


def test_members_that_were_not_announced_or_not_added(tmp_path):
    path = tmp_path / "x.zip"
    with pytest.raises(KeyError), cache.resume(path, fingerprint=A, keys=keys_of("a")) as out:
        out.add_bytes("b.png", b"")
    with pytest.raises(KeyError), cache.resume(path, fingerprint=A, keys=keys_of("a")):
        pass
    with pytest.raises(InputError, match="not a safe member name"):
        fill(path, ["../a"])
    assert not path.exists()


# Kills.


def states_of(folder, work):
    """Contents of a folder by file name, as a kill before any line of the modules that write would leave them."""
    modules, states = {module.__file__ for module in (cache, archive, files, zipfile)}, []

    def look():
        state = {file.name: file.read_bytes() for file in folder.iterdir()}
        if state not in states:
            states.append(state)

    def trace(frame, event, arg):
        if frame.f_code.co_filename not in modules:
            return None
        look()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    look()
    return states


def lay_out(folder, state):
    """That state, as Snakemake and `job` lay it out for the next run: without the outputs and temporary files."""
    folder.mkdir()
    for name, content in state.items():
        (folder / name).write_bytes(content)
    for path in [file for file in folder.iterdir() if not file.name.startswith(".")]:
        path.unlink()
        files.remove_temporaries(path)


def test_members_outlive_a_killed_process(tmp_path):
    path = tmp_path / "x.zip"
    child = os.fork()
    if not child:
        fill(path, NAMES, done=lambda name: name == "ü" and os.kill(os.getpid(), signal.SIGKILL))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert fill(path, NAMES) == NAMES[3:]
    assert path.read_bytes() == wanted(NAMES)


def test_a_kill_at_any_line_loses_nothing_and_is_cleaned_up(tmp_path):
    """Member a of an earlier run, b/c of a job killed before, ü and d of the one that is killed now."""
    path, done = tmp_path / "start" / "x.zip", tmp_path / "start" / ".done"
    fill(path, NAMES[:1])
    path.unlink()
    own = break_off(path, NAMES, 1)
    shutil.copy(own, path.with_name(f".x.zip.{B}.cache"))
    shutil.copy(own, path.with_name(f".x.zip.{B}.{B}.cache"))
    done.touch()

    def note(name):
        done.write_text(done.read_text() + name)

    states = states_of(path.parent, lambda: fill(path, NAMES, done=note))
    assert len(states) > 10
    for number, state in enumerate(states):
        path = tmp_path / f"{number}" / "x.zip"
        lay_out(path.parent, {"x.zip": b"", **state})
        left = (path.parent / ".done").read_text()
        (path.parent / ".done").unlink()
        assert set(fill(path, NAMES)) <= {"ü", "d"} - set(left)
        assert path.read_bytes() == wanted(NAMES)
        assert_clean(path)


@pytest.mark.parametrize("earlier", [b"result", b"another"])
def test_a_kill_while_an_output_is_cached_leaves_one_of_the_two(tmp_path, earlier):
    path = tmp_path / "start" / "x.safetensors"
    path.parent.mkdir()
    path.write_bytes(earlier)
    cache.keep(path, A)
    path.unlink()
    path.write_bytes(b"result")
    states = states_of(path.parent, lambda: cache.keep(path, A))
    assert len(states) > 1
    for number, state in enumerate(states):
        path = tmp_path / f"{number}" / "x.safetensors"
        lay_out(path.parent, state)
        cache.restore(path, A)
        assert path.read_bytes() in (b"result", earlier)
        assert not list(path.parent.glob(".*.tmp"))
    assert path.read_bytes() == b"result"
    assert len(hidden(path)) == 1


runs = st.lists(
    st.tuples(
        st.sampled_from([A, A, B]),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from([KEY, "f" * 16]), min_size=1).map(
            lambda keys: {f"{name}.png": key for name, key in keys.items()}
        ),
        st.one_of(st.none(), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(runs)
def test_any_runs(tmp_path_factory, runs):
    """What an earlier run has left with equal key and fingerprint is reused, nothing else; bytes do not tell."""
    path = tmp_path_factory.mktemp("runs") / "x.zip"
    ever, finished, last = set(), set(), set()  # of (fingerprint, name, key)
    for fingerprint, keys, stop_after in runs:
        names, made = [name.removesuffix(".png") for name in keys], []
        members = {(fingerprint, name, keys[f"{name}.png"]) for name in names}
        path.unlink(missing_ok=True)
        ended = True
        try:
            fill(path, names[::-1], fingerprint=fingerprint, keys=keys, stop_after=stop_after, done=made.append)
        except KeyboardInterrupt:
            ended = False
        added = {(fingerprint, name, keys[f"{name}.png"]) for name in made}
        assert not added & (finished | last)
        if ended:
            assert members - added <= ever
            assert path.read_bytes() == wanted(names, fingerprint=fingerprint, keys=keys)
            assert_clean(path)
            finished = members
        last = added | (members & (finished | last))
        ever |= added
