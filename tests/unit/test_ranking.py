import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc.report.ranking import extremes, read_scores, write_scores
from ssc.runtime.errors import InputError


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
