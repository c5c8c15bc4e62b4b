import string
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc.data.index import (
    SPLITS,
    Index,
    Row,
    class_ids,
    classes_path,
    read_classes,
    read_index,
    write_index,
    write_parts,
)
from ssc.runtime.errors import InputError


def row(image_id: str = "a", split: str = "train", labels: tuple[int, ...] = (1,)) -> Row:
    return Row(image_id, split, f"images/{image_id}.jpg", "", labels)


# What an adapter may meet: blanks, quotes, commas, letters beyond ASCII.
text = st.text(string.ascii_letters + string.digits + " .,'\"#-_äß犬", min_size=1, max_size=12)
labels = st.sets(st.integers(1, 200)).map(lambda ids: tuple(sorted(ids)))
rows = st.lists(
    st.builds(Row, text, st.sampled_from(["train", "val", "test"]), text, st.just("") | text, labels),
    unique_by=lambda row: (row.split, row.id),
)
names = st.lists(text.map(str.strip).filter(bool), unique=True)


@settings(max_examples=50, deadline=None)
@given(names, rows)
def test_round_trip(tmp_path_factory, classes, drawn):
    path = tmp_path_factory.mktemp("index") / "index.tsv"
    index = Index(classes, [*drawn, row("a training image")])
    write_index(path, index)
    assert read_index(path) == index


def test_rows_are_sorted_by_split_and_id_and_files_do_not_depend_on_their_order(tmp_path):
    given_rows = [row("b", "test"), row("b"), row("c", "val"), row("a", "val"), row("B")]
    for name, order in {"one": given_rows, "two": given_rows[::-1]}.items():
        index = Index(["cat"], order)
        assert [(r.split, r.id) for r in index.rows] == [
            ("train", "B"),
            ("train", "b"),
            ("val", "a"),
            ("val", "c"),
            ("test", "b"),
        ]
        write_index(tmp_path / name / "index.tsv", index)
    for name in ("index.tsv", "classes.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_splits(tmp_path):
    index = Index(["cat", "dog"], [row("a"), row("a", "val"), row("b", "val")])
    assert index.num_classes == 2
    assert [r.id for r in index.split("val")] == ["a", "b"]
    assert index.split("test") == []


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_partition_a_split_by_id_alone(count):
    index = Index(["cat"], [row(f"{k:03}", split) for k in range(90) for split in ("train", "val")])
    shards = [index.shard("train", f"{k}-of-{count}") for k in range(1, count + 1)]
    assert sorted((r for shard in shards for r in shard), key=lambda r: r.id) == index.split("train")
    assert all(shards)
    for number, shard in enumerate(shards):
        assert {zlib.crc32(r.id.encode()) % count for r in shard} == {number}
    grown = Index(["cat"], [*index.rows, row("new")])
    changed = [k for k in range(count) if grown.shard("train", f"{k + 1}-of-{count}") != shards[k]]
    assert changed == [zlib.crc32(b"new") % count]


@pytest.mark.parametrize(
    ("classes", "drawn", "message"),
    [
        (["cat"], [row("a"), row("a")], "'a' occurs twice in split train"),
        (["cat"], [row("../a")], "not a safe member name"),
        (["cat"], [row("a\tb")], "not a safe member name"),
        (["cat", "dog", "cat"], [row()], "occurs twice in the class list"),
        (["cat", "background"], [row()], "'background' is not a class of its own: class 0"),
        (["BackGround"], [row()], "'BackGround' is not a class of its own: class 0"),
        ([""], [row()], "Class name ''"),
        ([" cat"], [row()], "Class name ' cat'"),
        (["a;b"], [row()], "Class name 'a;b'"),
        (["a\tb"], [row()], "Class name"),
        (["a\nb"], [row()], "Class name"),
        (["a\u2028b"], [row()], "Class name"),
    ],
)
def test_what_the_files_cannot_carry_is_refused_before_writing(tmp_path, classes, drawn, message):
    with pytest.raises(InputError, match=message):
        write_index(tmp_path / "index.tsv", Index(classes, drawn))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("labels", "tags"),
        lambda text: text.replace("\tmask", ""),
        lambda text: text.replace("train", "practice"),
        lambda text: text.rpartition("\t")[0],
    ],
)
def test_damaged_table_is_refused(tmp_path, damage):
    path = tmp_path / "index.tsv"
    write_index(path, Index(["cat"], [row()]))
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=r"index\.tsv, line 2: expected id, split, image, mask, labels"):
        read_index(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"index\.tsv does not exist"):
        read_index(tmp_path / "index.tsv")
    write_index(tmp_path / "index.tsv", Index(["cat"], [row()]))
    classes_path(tmp_path / "index.tsv").unlink()
    with pytest.raises(InputError, match=r"classes\.txt does not exist"):
        read_index(tmp_path / "index.tsv")


def test_read_classes_skips_mark_blank_lines_and_padding(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffcat\r\n\r\n  potted plant \r\n".encode())
    assert read_classes(tmp_path / "classes.txt") == ["cat", "potted plant"]


def test_class_ids():
    assert class_ids(["dog", "cat", "dog"], ["cat", "cow", "dog"], where="x") == (1, 3)
    assert class_ids([], ["cat"], where="x") == ()
    with pytest.raises(InputError, match="line 4: class 'hen'"):
        class_ids(["cat", "hen"], ["cat"], where="line 4")


def test_the_tables_of_the_parts_hold_each_image_once(tmp_path):
    rows = [row(f"{k}", split) for split in ("train", "val") for k in range(20)]
    index = Index(["red"], rows)
    write_index(tmp_path / "index.tsv", index)
    write_parts(tmp_path / "index.tsv", index, 3)
    for split in SPLITS:
        table = read_index(tmp_path / "index" / f"{split}.tsv")
        assert table.rows == index.split(split) and table.classes == ["red"]
        shards = [f"{number}-of-3" for number in (1, 2, 3)]
        parts = [read_index(tmp_path / "index" / split / f"{shard}.tsv") for shard in shards]
        assert [part.shard(split, shard) for part, shard in zip(parts, shards, strict=True)] == [p.rows for p in parts]
        assert sorted(r.id for part in parts for r in part.rows) == sorted(r.id for r in index.split(split))


def test_a_new_image_changes_the_tables_of_its_own_parts_alone(tmp_path):
    rows = [row(f"{k}", split) for split in ("train", "val") for k in range(20)]

    def tables(rows):
        write_index(tmp_path / "index.tsv", Index(["red"], rows))
        write_parts(tmp_path / "index.tsv", Index(["red"], rows), 4)
        return {path.relative_to(tmp_path / "index"): path.read_bytes() for path in tmp_path.glob("index/**/*.tsv")}

    before, after = tables(rows), tables([*rows, row("new", "val")])
    changed = {str(path) for path in after if after[path] != before[path]}
    assert len(changed) == 2 and "val.tsv" in changed and all(name.startswith("val") for name in changed)


def test_the_key_of_an_image_holds_what_its_results_depend_on():
    one = replace(row(), digest="1")
    assert len(one.key) == 16 and bytes.fromhex(one.key)
    # Neither its ground truth counts, nor where the photo lies, as long as its content is known.
    assert replace(one, mask="masks/a.png", image="moved/a.jpg").key == one.key
    for change in ({"id": "b"}, {"labels": (1, 2)}, {"labels": ()}, {"digest": "2"}):
        assert replace(one, **change).key != one.key
    assert replace(row(), image="x.jpg").key != row().key
    keys = [one.key, *(one.key_with(*contents) for contents in ((b"",), (b"a",), (b"a", b"b"), (b"ab",), (b"b", b"a")))]
    assert len(set(keys)) == 6
