"""What surrounds the work of a rule: its log, checksums of what it reads and writes, a message if it cannot go on."""

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ssc.runtime.errors import InputError, user_message
from ssc.runtime.files import file_digest, remove_temporaries, write_text
from ssc.runtime.gpus import leased
from ssc.runtime.progress import log, log_file


class Rule(Protocol):
    """What is used of the object `snakemake` of a script."""

    input: list[str]  # paths, as those that follow
    output: list[str]
    log: list[str]
    config: Mapping
    resources: Mapping  # with `gpu`, the number of GPUs, where the rule asks for any


@contextmanager
def job(rule: Rule) -> Iterator[None]:
    """Do the work of a rule in the block.

    Its log goes to the rule's log file. In it CUDA sees as many GPUs as the rule asks for, which other jobs leave to it
    (`ssc.runtime.gpus.leased`), unless `device` names one. A file that the rule reads must be as the rule that
    made it left it, by the checksum in the hidden file `.<name>.sha256` beside it, of the form that `sha256sum` knows;
    a file without one is the user's own.

    An error that the user can do something about is told by its message alone, on the terminal too, and ends the
    process with status 1; any other exception keeps its traceback, which the log holds as well.
    """
    any_gpu = rule.config["device"] in ("auto", "cuda")
    with _logged(rule.log[0]), leased(rule.resources.get("gpu", 0) if any_gpu else 0):
        for path in rule.output:
            checksum_path(path).unlink(missing_ok=True)
            remove_temporaries(path)
        for path in rule.input:
            check_file(path)
        yield
        for path in rule.output:
            if Path(path).is_file():
                write_text(checksum_path(path), f"{file_digest(path)}  {Path(path).name}\n")


def checksum_path(path: str | Path) -> Path:
    """Where the checksum of an output lies."""
    return Path(path).with_name(f".{Path(path).name}.sha256")


def check_file(path: str | Path) -> None:
    """Compare a file with its recorded checksum, if it has one.

    Raises:
        InputError: they differ.
    """
    recorded = checksum_path(path)
    if recorded.exists() and recorded.read_text(encoding="utf-8").split()[:1] != [file_digest(path)]:
        raise InputError(
            f"{path} is damaged, or was changed by hand: it is not what its rule wrote. Delete it and run again to have"
            f" it made anew; if the change is yours, delete {recorded} instead."
        )


@contextmanager
def _logged(path: str) -> Iterator[None]:
    handler = None
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"")
        handler = log_file(path)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        yield
    except Exception as error:
        told = user_message(error)
        log.error(f"Error: {told}" if told else traceback.format_exc())
        if told:
            sys.exit(f"\nError: {told}\n")
        raise
    except KeyboardInterrupt:
        log.error("Interrupted.")
        sys.exit("\nInterrupted.\n")
    finally:
        if handler:
            log.removeHandler(handler)
            handler.close()
