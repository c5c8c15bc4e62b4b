import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc.errors import InputError
from ssc.ranking import extremes, image_miou, read_scores, write_scores


def miou_by_sets(target, prediction):
    """Over pixels as pairs; the classes of the target and background."""
    pairs = [(t, p) for t, p in zip(target.flat, prediction.flat, strict=True) if t != 255]
    values = []
    for label in {0} | {t for t, _ in pairs}:
        union = sum(label in pair for pair in pairs)
        if union:
            values.append(sum(pair == (label, label) for pair in pairs) / union)
    return sum(values) / len(values) if values else None


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), truth=st.sampled_from([[0, 1, 3, 255], [1, 2], [255], [0], [2, 255]]))
def test_miou_of_an_image_equals_a_count_of_pairs(seed, truth):
    rng = np.random.default_rng(seed)
    target, prediction = rng.choice(truth, (3, 4)), rng.choice([0, 1, 2, 4], (3, 4))
    assert image_miou(target, prediction) == pytest.approx(miou_by_sets(target, prediction))


def test_other_classes_take_pixels_and_no_row_of_their_own():
    target = np.array([[0, 0, 1, 1]])
    assert image_miou(target, target) == 1
    assert image_miou(target, np.array([[0, 2, 1, 1]])) == pytest.approx((1 / 2 + 1) / 2)
    assert image_miou(np.full((1, 2), 1), np.array([[1, 0]])) == pytest.approx((0 + 1 / 2) / 2)


def test_scores_read_back_in_percent(tmp_path):
    write_scores(tmp_path / "scores.tsv", {"a/b c": 0.123456, "none": None, "zero": 0.0})
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
