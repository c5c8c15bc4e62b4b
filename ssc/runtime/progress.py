"""What long work says: a progress bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
_LINES = 10  # progress lines per loop in a log

log = logging.getLogger("ssc")


def track(
    items: Iterable[Item], what: str, total: int | None = None, *, note: Callable[[], str] | None = None
) -> Iterator[Item]:
    """Iterate over `items`, showing how far it is: a bar on a terminal, at most ten lines in the log.

    `note` says what else to tell, such as the losses of a training.
    """
    total = len(items) if total is None else total
    start = time.perf_counter()
    step = max(1, -(-total // _LINES))
    with tqdm(desc=what, total=total, leave=False, disable=log.disabled or not sys.stderr.isatty()) as bar:
        for count, item in enumerate(items, start=1):
            yield item
            bar.update()
            if note and not bar.disable:
                bar.set_postfix_str(note(), refresh=False)
            if count % step == 0 or count == total:
                told = f", {note()}" if note else ""
                log.info("%s: %d/%d, %.1f s%s", what, count, total, time.perf_counter() - start, told)


def tell(text: str) -> None:
    """Say something that the user should see: on the terminal, and in the log."""
    tqdm.write(text, file=sys.stderr)  # above a bar, where there is one
    log.info("%s", text)


def told_bytes(size: float) -> str:
    """A number of bytes in words: `23 MB`, `1.6 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def told_time(seconds: float) -> str:
    """A duration in words, to two figures: `45 s`, `25 min`, `1.4 h`, `2.3 days`."""
    units = (("s", 1, 99.5), ("min", 60, 99.5), ("h", 3600, 47.5), ("days", 86_400, float("inf")))
    unit, length = next((unit, length) for unit, length, most in units if seconds < most * length)
    return f"{float(f'{seconds / length:.2g}'):g} {unit}"


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written, on a full disk say, is lost; the work goes on."""


def log_file(path: str | Path) -> logging.Handler:
    """Handler that appends lines with their time to a file; several processes may do so."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler
