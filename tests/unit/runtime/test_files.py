import json
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc.runtime.errors import InputError
from ssc.runtime.files import (
    atomic,
    atomic_folder,
    check_member_name,
    file_digest,
    read_json,
    read_table,
    write_json,
    write_table,
    write_text,
)

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_shows_the_old_file_until_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    for before, after in (None, "first"), ("first", "second"):
        with atomic(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text(after)
            assert (path.read_text() if path.exists() else None) == before
        assert path.read_text() == after
        assert names(path.parent) == ["file.txt"]


def test_whoever_reads_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with path.open() as reader:
        write_text(path, "new and longer")
        assert reader.read() == "old"
    assert path.read_text() == "new and longer"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_atomic_leaves_nothing_behind_on_an_exception(tmp_path, error, old):
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old)
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("half-writ")
        raise error
    assert names(tmp_path) == (["file.txt"] if old else [])
    assert not old or path.read_text() == old


def test_atomic_keeps_the_old_file_when_nothing_was_written(tmp_path):
    (tmp_path / "file.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "file.txt"):
        pass
    assert (tmp_path / "file.txt").read_text() == "old"


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "t", "Krähenbühl ≥ 1\n")
    assert (tmp_path / "t").read_bytes() == "Krähenbühl ≥ 1\n".encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | cells,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(cells, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(cells, json_values, max_size=3))
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number_and_keeps_the_old_file(tmp_path, value):
    write_json(tmp_path / "v.json", {"miou": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "v.json", {"miou": value})
    assert json.loads((tmp_path / "v.json").read_text()) == {"miou": 0.5}
    assert names(tmp_path) == ["v.json"]


@pytest.mark.parametrize("content", [b"{", b"", b'{"a": 1} 2', b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(InputError, match=r"v\.json is not valid JSON"):
        read_json(tmp_path / "v.json")


def test_json_of_another_kind_is_refused(tmp_path):
    (tmp_path / "v.json").write_text("[1]")
    with pytest.raises(InputError, match=r"v.json holds no JSON object"):
        read_json(tmp_path / "v.json")


@pytest.mark.parametrize("read", [read_json, read_table])
def test_an_absent_file_is_named(tmp_path, read):
    with pytest.raises(InputError, match="absent does not exist"):
        read(tmp_path / "absent")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[cells.filter(lambda cell: "\r" not in cell)] * 3), max_size=4))
def test_tables_of_text_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tsv") / "table.tsv"
    write_table(path, pd.DataFrame(rows, columns=["id", "image", "labels"]))
    table = read_table(path)
    assert list(table) == ["id", "image", "labels"]
    assert [tuple(row) for row in table.fillna("").to_numpy()] == rows


def test_numbers_are_written_plainly_and_missing_values_as_empty_cells(tmp_path):
    frame = pd.DataFrame({"id": ["a", "b", None], "images": [3, 4, 5], "miou": [0.125, float("nan"), 100 / 3]})
    write_table(tmp_path / "t.tsv", frame)
    assert (tmp_path / "t.tsv").read_bytes() == b"id\timages\tmiou\na\t3\t0.125\nb\t4\t\n\t5\t33.333333333333336\n"
    write_table(tmp_path / "t.tsv", frame, decimals=1)
    assert (tmp_path / "t.tsv").read_bytes() == b"id\timages\tmiou\na\t3\t0.1\nb\t4\t\n\t5\t33.3\n"
    assert names(tmp_path) == ["t.tsv"]


def test_cells_that_look_like_something_else_stay_text(tmp_path):
    (tmp_path / "t.tsv").write_text("id\tmiou\n0012\t1.50\nNA\t\n1e3\tnull\n")
    table = read_table(tmp_path / "t.tsv")
    assert table["id"].tolist() == ["0012", "NA", "1e3"]
    assert table["miou"].isna().tolist() == [False, True, False]
    assert table["miou"][0] == "1.50" and table["miou"][2] == "null"


@pytest.mark.parametrize("content", [b"", b"a\tb\n1\t2\t3\n", b"a\tb\n1\t2\n1\t2\t3\n", b"a\n\xff\n", b'a\n"b\n'])
def test_damaged_tables_are_named(tmp_path, content):
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.tsv is no readable table"):
        read_table(tmp_path / "t.tsv")


def test_pandas_is_not_imported_before_a_table_is_read():
    command = "import sys; import ssc.runtime.files, ssc.report.paper; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


@pytest.mark.parametrize("name", ["a", "2007_000032", "sub/a.png", "a..b", "ä b"])
def test_plain_relative_names_are_safe(name):
    check_member_name(name)


@pytest.mark.parametrize("name", ["/a", "../a", "a/../../b", "a\\b", "a\nb", "a\0"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="not a safe member name"):
        check_member_name(name)


def test_an_atomic_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "folder"
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as temporary:
        (temporary / "half").touch()
        assert temporary.parent == path.parent and not path.exists()
        raise ZeroDivisionError
    assert names(path.parent) == []
    path.mkdir()
    with atomic_folder(path) as temporary:
        (temporary / "whole").touch()
        assert names(path) == []
    assert names(path.parent) == ["folder"] and names(path) == ["whole"]


def test_an_atomic_folder_replaces_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with pytest.raises(OSError), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "new").touch()
    assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == ["old"]


def test_file_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
