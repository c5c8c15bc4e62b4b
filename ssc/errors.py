"""Errors that are told in one sentence, because the user can mend them."""

import errno

_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


class InputError(ValueError):
    """Bad input, told in one sentence that names the file, key or class and the mend.

    Command line and workflow scripts print the sentence alone; every other exception is a defect of ours
    and keeps its traceback.
    """


class Interrupted(Exception):
    """A signal asked the training to end; its state is saved."""


def sentence(error: Exception) -> str | None:
    """What to tell the user of an error that is not a defect of ours; None for one that is."""
    if isinstance(error, InputError | Interrupted):
        return str(error)
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return (
            f"{error.filename or 'A file'} cannot be written or read ({error.strerror}); make room or mend the "
            "permissions, then run again: what was finished before is kept."
        )
    # PyTorch's own class for GPUs; its message alone on the CPU.
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    ):
        return (
            "The memory is exhausted; set memory: lean, precision: bf16 or a smaller batch_size or crop, or give the "
            "job more, then run again: what was finished before is kept."
        )
    return None
