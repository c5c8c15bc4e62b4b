"""Trainings that go wrong in one of several processes; what those of test_launch.py run."""

import os
import signal
import time
from pathlib import Path

import ssc.runtime.distributed
import ssc.training.run
from ssc.runtime.distributed import is_main
from ssc.training.irn import train_irn
from ssc.training.run import Run, set_poly_lr
from ssc.workflow.settings import IRN
from tests.unit.training import trainings


def train_all(run: Run, *, folder: str, jobs: list[dict], data: dict, settings: IRN) -> None:
    """Run trainings one after the other; only the main process may write, move or delete a file."""
    ssc.runtime.distributed._BUCKET = 1000  # the gradients of these small networks do not fit into one message
    if not is_main():
        Path.replace = Path.unlink = _refuse
    for job in jobs:
        own = trainings.with_changes(trainings.SimpleNamespace(**data), **job["data"])
        function, arguments = trainings.training(job["kind"], own, **job["changes"])
        function(Run(**trainings.options(Path(folder) / f"{job['name']}.safetensors")), **arguments)


def train_irn_until_a_process_dies(run: Run, *, last: int, settings: IRN, **arguments) -> None:
    """The second process is killed before step `last`."""

    def set_rate(optimizer, step, total, **options):
        if step == last and not is_main():
            os.kill(os.getpid(), signal.SIGKILL)
        set_poly_lr(optimizer, step, total, **options)

    ssc.training.run.set_poly_lr = set_rate
    train_irn(run, settings=settings, **arguments)


def train_irn_until_a_signal(run: Run, *, last: int, settings: IRN, **arguments) -> None:
    """At step `last` the second process sends the launcher the signal that comes before pre-emption."""

    def set_rate(optimizer, step, total, **options):
        if step == last and not is_main():
            os.kill(os.getppid(), signal.SIGUSR1)
        set_poly_lr(optimizer, step, total, **options)
        time.sleep(0.5)

    ssc.training.run.set_poly_lr = set_rate
    train_irn(run, settings=settings, **arguments)


def _refuse(*_, **__):
    raise AssertionError("a process that is not the main one wants to write")
