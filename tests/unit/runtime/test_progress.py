"""Progress lines and the log of a rule."""

import logging
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc.runtime.progress import log, told_bytes, told_time, track


class Terminal:
    """Standard error that is a terminal, or is not."""

    def __init__(self, interactive):
        self.interactive, self.text = interactive, ""

    def isatty(self):
        return self.interactive

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300))
def test_at_most_ten_lines_the_last_at_the_end(total):
    lines = []

    class Collector(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    handler, level = Collector(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", Terminal(False))
            assert list(track(iter(range(total)), "work", total)) == list(range(total))
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    counts = [int(re.fullmatch(rf"work: (\d+)/{total}, \d+\.\d s", line)[1]) for line in lines]
    assert min(total, 6) <= len(counts) <= 10
    assert counts == sorted(set(counts)) and counts[-1:] == [total][: len(counts)]


def test_a_line_comes_after_its_work(monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", Terminal(False))
    caplog.set_level(logging.INFO, logger="ssc")
    seen = [len(caplog.messages) for _ in track([1, 2, 3], "work")]
    assert seen == [0, 1, 2] and len(caplog.messages) == 3


def test_a_bar_on_a_terminal_beside_the_lines_of_the_log(monkeypatch, caplog):
    terminal = Terminal(True)
    monkeypatch.setattr(sys, "stderr", terminal)
    caplog.set_level(logging.INFO, logger="ssc")
    assert list(track("abc", "work")) == ["a", "b", "c"]
    assert "work" in terminal.text
    assert len(caplog.messages) == 3


def test_no_bar_where_nothing_is_logged(monkeypatch):
    """Of several training processes on one terminal only the first shows its bar."""
    terminal = Terminal(True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(log, "disabled", True)
    assert list(track("abc", "work")) == ["a", "b", "c"]
    assert terminal.text == ""


def test_no_bar_in_a_file(monkeypatch):
    file = Terminal(False)
    monkeypatch.setattr(sys, "stderr", file)
    list(track("abc", "work"))
    assert file.text == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.42, "0.42 s"), (45, "45 s"), (99.4, "99 s"), (99.6, "1.7 min"), (1520, "25 min"), (5960, "99 min"),
        (6000, "1.7 h"), (51_480, "14 h"), (171_360, "2 days"), (200_000, "2.3 days"), (10_700_000, "120 days"),
    ],
)  # fmt: skip
def test_durations_have_two_figures(seconds, told):
    assert told_time(seconds) == told


@pytest.mark.parametrize(("size", "told"), [(0, "0 MB"), (23_400_000, "23 MB"), (99e6, "99 MB"), (1.64e9, "1.6 GB")])
def test_sizes(size, told):
    assert told_bytes(size) == told
