"""Progress lines and the log of a rule."""

import logging
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc.errors import InputError
from ssc.progress import log, logged, track


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


@pytest.fixture(autouse=True)
def logger_as_before():
    level = log.level
    yield
    log.setLevel(level)
    assert not any(isinstance(handler, logging.FileHandler) for handler in log.handlers)


def test_the_log_goes_to_the_file_for_the_block_only(tmp_path):
    path = tmp_path / "new" / "rule.log"
    with logged(path):
        log.info("within %d", 1)
    log.info("after")
    assert re.fullmatch(r"\d\d:\d\d:\d\d within 1\n", path.read_text())
    with logged(path):
        log.info("again")
    assert "within" not in path.read_text()


def test_others_may_append_to_the_log(tmp_path):
    path = tmp_path / "rule.log"
    with logged(path):
        log.info("first")
        with path.open("a") as handle:
            handle.write("another process\n")
        log.info("last")
    assert re.fullmatch(r"\S+ first\nanother process\n\S+ last\n", path.read_text())


def test_bad_input_ends_with_its_sentence_and_status_1(tmp_path):
    with pytest.raises(SystemExit) as exit_info, logged(tmp_path / "rule.log"):
        raise InputError("labels.csv lacks a column; add it.")
    # Python prints the text of SystemExit on the terminal and ends with status 1.
    assert exit_info.value.code == "\nError: labels.csv lacks a column; add it.\n"
    text = (tmp_path / "rule.log").read_text()
    assert text.endswith("Error: labels.csv lacks a column; add it.\n") and "Traceback" not in text


def test_a_defect_keeps_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError), logged(tmp_path / "rule.log"):
        1 / 0  # noqa: B018
    text = (tmp_path / "rule.log").read_text()
    assert "Traceback" in text and "ZeroDivisionError" in text and "1 / 0" in text
