"""The GPUs of one machine, shared out among the jobs that run on it side by side."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def leased(number: int) -> Iterator[None]:
    """Take GPUs for the block, those that the fewest other blocks have: CUDA, if not used before, sees no others in it.

    A lease is a lock on a file, which ends with its process, however that ends. `CUDA_VISIBLE_DEVICES` names the GPUs
    that there are, all where it is not set. Nothing is done under Slurm, which shares out its own.

    Args:
        number: how many; with fewer on the machine, all of them.
    """
    if not number or "SLURM_JOB_ID" in os.environ:
        yield
        return
    before, devices = os.environ.get(_VISIBLE), _devices()
    with ExitStack() as held:
        taken = []
        # How many leases each GPU may have grows until there are enough.
        for place in count():
            for device in devices:
                if len(taken) < number and device not in taken and (lock := _lock(device, place)):
                    taken.append(device)
                    held.enter_context(lock)
            if len(taken) == min(number, len(devices)):
                break
        if taken:
            os.environ[_VISIBLE] = ",".join(taken)
        try:
            yield
        finally:
            if before is not None:
                os.environ[_VISIBLE] = before
            else:
                os.environ.pop(_VISIBLE, None)


def _devices() -> list[str]:
    """The GPUs of the machine that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    if _VISIBLE not in os.environ:
        import torch  # here, so that other jobs start without it

        return [str(device) for device in range(torch.cuda.device_count())]
    named = [device.strip() for device in os.environ[_VISIBLE].split(",")]
    return named[: next((place for place, device in enumerate(named) if device in ("", "-1")), None)]


def _lock(device: str, place: int) -> TextIO | None:
    """The locked file that stands for a place on a GPU; None if another has it."""
    folder = Path(tempfile.gettempdir()) / f"ssc-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    file = (folder / f"{device.replace('/', '_')}-{place}").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
