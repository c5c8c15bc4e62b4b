"""The GPUs of one machine, shared out among the jobs of a user that run on it side by side."""

import fcntl
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

from ssc.runtime.progress import log

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def leased(number: int) -> Iterator[None]:
    """Take GPUs for the block, those that the fewest blocks of other processes have: CUDA, if not used before, sees no
    others in it.

    A lease is a lock on a file, which ends with its process and the loaders that this has forked, however they end.
    `CUDA_VISIBLE_DEVICES` names the GPUs that there are; where it is not set, `nvidia-smi` counts them.

    Args:
        number: how many; with fewer on the machine, all of them.
    """
    before, devices = os.environ.get(_VISIBLE), _devices() if number else []
    with ExitStack() as held:
        try:
            taken = _take(devices, number, held) if devices else []
        except OSError as error:  # no locks there, or another user's folder
            log.warning("GPUs are not shared out (%s): jobs side by side may meet on one.", error)
            taken = []
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
        # Not by torch: where it must ask CUDA itself, the variable would come too late.
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return []
        return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
    named = [device.strip() for device in os.environ[_VISIBLE].split(",")]
    return list(dict.fromkeys(named[: next((place for place, name in enumerate(named) if name in ("", "-1")), None)]))


def _take(devices: list[str], number: int, held: ExitStack) -> list[str]:
    """Lock a place on as many of the devices; `held` lets go of them."""
    # Of a job in Slurm the devices are its own, whatever their numbers.
    folder = Path(tempfile.gettempdir()) / "-".join(
        filter(None, ("ssc-gpus", str(os.getuid()), os.environ.get("SLURM_JOB_ID")))
    )
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():  # the name is known to all who share the machine
        raise OSError(f"{folder} is not a folder of this user")
    folders = {device: folder / device.replace("/", "_") for device in devices}
    for each in folders.values():
        each.mkdir(exist_ok=True)
    with (folder / "choice").open("w") as choice:
        fcntl.flock(choice, fcntl.LOCK_EX)  # one process after the other looks and takes
        taken = sorted(devices, key=lambda device: _leases(folders[device]))[:number]
        for device in taken:
            lock = next(filter(None, (_lock(folders[device] / str(place)) for place in count())))
            held.enter_context(lock)
            held.callback(fcntl.flock, lock, fcntl.LOCK_UN)  # closing it does not, while a forked process has it open
    return taken


def _leases(folder: Path) -> int:
    """How many places on a device are locked."""
    return sum(not _is_free(place) for place in folder.iterdir())


def _is_free(place: Path) -> bool:
    if lock := _lock(place):
        lock.close()
    return lock is not None


def _lock(place: Path) -> TextIO | None:
    """The file of a place, locked; None if another has it."""
    file = place.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
