import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssc import archive
from ssc.archive import Archive
from ssc.data.index import Index, Row, write_index
from ssc.report import sheets
from ssc.report.sheets import choose, extremes, labels_column, read_scores, write_sheet
from ssc.runtime.errors import InputError
from ssc.stages.evaluate import write_image_miou


def test_scores_read_back_in_percent(tmp_path):
    write_image_miou(tmp_path / "scores.tsv", {"a/b c": 0.123456, "none": None, "zero": 0.0})
    assert read_scores(tmp_path / "scores.tsv") == {"a/b c": 12.35, "zero": 0.0}
    assert "none\t\n" in (tmp_path / "scores.tsv").read_text()
    with pytest.raises(InputError, match=r"absent\.tsv"):
        read_scores(tmp_path / "absent.tsv")


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, "f"), (2, "ak"), (3, "afk"), (4, "aefk"), (5, "abfjk"), (7, "abefgjk"), (8, "abcefijk"), (11, "abcdefghijk")],
)
def test_best_median_and_worst(count, expected):
    assert "".join(extremes("abcdefghijk", count)) == expected


@settings(max_examples=100, deadline=None)
@given(size=st.integers(0, 30), count=st.integers(1, 35))
def test_as_many_as_asked_for_each_once_and_both_ends_alike(size, count):
    found = extremes(range(size), count)
    assert found == sorted(set(found))
    assert len(found) == min(size, count)
    below = sum(item < (size - 1) / 2 for item in found)
    above = sum(item > (size - 1) / 2 for item in found)
    assert abs(below - above) <= 1
    if size > 1 and count > 1:
        assert {0, size - 1} <= set(found)


def rows_of(names, labels=(1,)):
    return [Row(name, "val", "", "", labels) for name in names]


def masks_of(tmp_path, names):
    with archive.write(tmp_path / "masks.zip") as out:
        for name in names:
            out.add_labels(name, np.zeros((4, 6), int))
    return Archive(tmp_path / "masks.zip")


def scores_of(tmp_path, **scores):
    write_image_miou(tmp_path / "scores.tsv", scores)
    return tmp_path / "scores.tsv"


def ids(sample):
    return "".join(row.id for row, _ in sample)


def test_best_median_and_worst_images_with_their_ranks(tmp_path):
    names = "gcaedbf"
    scores = scores_of(tmp_path, **{name: (10 - rank) / 10 for rank, name in enumerate("abcdefg", start=1)})
    sample = choose(rows_of(names), masks_of(tmp_path, names), scores, 3)
    assert [(row.id, note) for row, note in sample] == [
        ("a", "mIoU 90.0 % (1 of 7)"),
        ("d", "mIoU 60.0 % (4 of 7)"),
        ("g", "mIoU 30.0 % (7 of 7)"),
    ]
    assert ids(choose(rows_of(names), masks_of(tmp_path, names), scores, 99)) == "abcdefg"


def test_equal_scores_are_ordered_by_id_and_images_without_one_take_no_part(tmp_path):
    scores = scores_of(tmp_path, c=0.5, a=0.5, b=0.5, d=None, x=0.9)
    masks = masks_of(tmp_path, "abcd")
    assert ids(choose(rows_of("dcba"), masks, scores, 3)) == "abc"  # x is no row of the split
    assert ids(choose(rows_of("dcba"), masks, scores, 2)) == "ac"


def test_images_with_mask_and_labels_come_first(tmp_path):
    rows = [*rows_of("ab"), *rows_of("c", labels=()), *rows_of("d")]
    scores = scores_of(tmp_path, a=0.1, c=0.9, d=0.5)
    assert ids(choose(rows, masks_of(tmp_path, "acd"), scores, 9)) == "da"
    assert ids(choose(rows, masks_of(tmp_path, "acd"), None, 9)) == "ad"
    assert ids(choose(rows, Archive(), None, 9)) == "abd"
    assert ids(choose(rows[2:3], masks_of(tmp_path, "acd"), scores, 9)) == "c"


@pytest.mark.parametrize(("count", "expected"), [(1, "f"), (2, "ch"), (5, "bdfhj"), (99, "abcdefghij")])
def test_without_scores_the_sample_is_spread_evenly(tmp_path, count, expected):
    rows = rows_of("abcdefghij")
    for scores in (None, scores_of(tmp_path), scores_of(tmp_path, **dict.fromkeys("abcdefghij"))):
        sample = choose(rows, Archive(), scores, count)
        assert ids(sample) == expected
        assert {note for _, note in sample} == {""}
    assert choose([], Archive(), None, count) == []


def test_an_absent_table_of_scores_is_told(tmp_path):
    with pytest.raises(InputError, match=r"scores\.tsv does not exist"):
        choose(rows_of("a"), Archive(), tmp_path / "scores.tsv", 1)


@pytest.fixture
def photo_index(tmp_path):
    """Index of the training photo `a`, which shows the class `orbi`."""
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    write_index(tmp_path / "index.tsv", Index(["orbi"], [Row("a", "train", str(tmp_path / "a.png"), "", (1,))]))
    return tmp_path / "index.tsv"


def test_the_ground_truth_is_a_column_where_there_is_one(tmp_path, photo_index, monkeypatch):
    headings = []
    compose = sheets._compose
    monkeypatch.setattr(
        sheets, "_compose", lambda sample, names, *rest: headings.append(names) or compose(sample, names, *rest)
    )
    masks_of(tmp_path, "a")
    own = {"own": labels_column(Archive(tmp_path / "masks.zip"))}
    common = {"index": photo_index, "scores": None, "panels": 1, "output": tmp_path / "sheet.png"}
    write_sheet(own, masks=[tmp_path / "masks.zip"], **common)
    write_sheet(own, masks=[tmp_path / "masks.zip"], show_masks=False, **common)
    write_sheet(own, masks=[], **common)
    assert headings == [["image", "ground truth", "own"], ["image", "own"], ["image", "own"]]


def test_the_caption_ends_with_the_note(tmp_path, photo_index):
    pictures = []
    for scores in (None, scores_of(tmp_path, a=0.123)):
        write_sheet({}, index=photo_index, masks=[], scores=scores, panels=1, output=tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as image:
            pictures.append(np.asarray(image))
    ys, xs = np.nonzero((pictures[0] != pictures[1]).any(-1))
    assert len(xs) > 20
    assert ys.max() < sheets._MARGIN + sheets._HEADING + 2 * sheets._GAP + sheets._CAPTION + sheets._GAP
    empty = pictures[0][ys.min() : ys.max() + 1, : xs.min()] != 255
    assert empty.any()  # the id and the class stand before it
