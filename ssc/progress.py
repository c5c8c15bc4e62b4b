"""What long work says: a progress bar on a terminal, plain lines in a log."""

import logging
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from ssc.errors import InputError

Item = TypeVar("Item")
_LINES = 10  # progress lines per loop in a log

log = logging.getLogger("ssc")


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over `items`, showing how far it is: a bar on a terminal, at most ten lines in the log."""
    total = len(items) if total is None else total
    start = time.perf_counter()
    step = max(1, -(-total // _LINES))
    with tqdm(desc=what, total=total, leave=False, disable=log.disabled or not sys.stderr.isatty()) as bar:
        for count, item in enumerate(items, start=1):
            yield item
            bar.update()
            if count % step == 0 or count == total:
                log.info("%s: %d/%d, %.1f s", what, count, total, time.perf_counter() - start)


def log_file(path: str | Path) -> logging.Handler:
    """Handler that appends lines with their time to a file; several processes may do so."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send the log to the file `path` (a rule's log) for the block.

    An `InputError` is told in its one sentence, on the terminal too, and ends the process with status 1; any other
    exception keeps its traceback, which the log holds as well.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    handler = log_file(path)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    except InputError as error:
        log.error("Error: %s", error)
        sys.exit(f"\nError: {error}\n")
    except Exception:
        log.error(traceback.format_exc())
        raise
    finally:
        log.removeHandler(handler)
        handler.close()
