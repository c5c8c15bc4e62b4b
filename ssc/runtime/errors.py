"""Errors that the user can do something about, told by their message alone."""

import argparse
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}

# What PyTorch says where there is no memory: for a tensor, or for a process that loads data, which is killed then.
_NO_MEMORY = ("can't allocate memory", "killed by signal: Killed", "insufficient shared memory")


class InputError(ValueError):
    """Bad input: one sentence that names the file, key or class and what to do.

    Command line and workflow scripts print that message alone; every other exception is a defect of ours
    and keeps its traceback.
    """


class Parser(argparse.ArgumentParser):
    """Reads a command line; what is wrong with it is an `InputError`."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise InputError(f"{message[0].upper()}{message[1:]}; `{self.prog} --help` says what there is.")


_FAULTS_TOLD = 20


def refuse(path: str | Path, faults: Sequence[str]) -> None:
    """Tell all faults of a file at once.

    Args:
        path: the file.
        faults: clauses that name place, fault and mend; nothing happens where there is none.

    Raises:
        InputError: there are any.
    """
    if len(faults) == 1:
        raise InputError(f"{path}, {faults[0]}.")
    if faults:
        rest = [f"... and {len(faults) - _FAULTS_TOLD} more"] if len(faults) > _FAULTS_TOLD else []
        raise InputError(f"{path} has {len(faults)} faults:\n  " + "\n  ".join([*faults[:_FAULTS_TOLD], *rest]))


class Interrupted(Exception):
    """A signal asked the training to end; its state is saved."""


def is_of_storage(error: Exception) -> bool:
    """Whether a file cannot be written or read for want of room or permission, or since its disk fails."""
    return isinstance(error, OSError) and error.errno in _STORAGE


def user_message(error: Exception) -> str | None:
    """What to tell the user of an error that is not a defect of ours; None for one that is."""
    if isinstance(error, InputError | Interrupted):
        # From a process that loads data it comes with its traceback, which ends in the message.
        return str(error).rpartition("ssc.runtime.errors.InputError: ")[2].strip()
    if is_of_storage(error):
        return (
            f"{error.filename or 'A file'} cannot be written or read ({error.strerror}); make room or correct the "
            "permissions, then run again: what was finished before stays."
        )
    # PyTorch has a class for GPUs; elsewhere only its message tells.
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY))
    ):
        return (
            "The memory is exhausted; set memory: lean, precision: bf16 or a smaller batch_size or crop, or give the "
            "job more, then run again: what was finished before stays."
        )
    return None
