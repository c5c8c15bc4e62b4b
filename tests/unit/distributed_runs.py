"""What the processes of test_distributed.py run."""

import os
import signal
import time
from pathlib import Path

from ssc.training.common import set_poly_lr

import ssc.runtime.distributed
import ssc.training.classifier
import ssc.training.irn
import ssc.training.segmentation
from ssc.runtime.distributed import is_main


def train_all(*, runs: list[dict], **_) -> None:
    """Run trainings one after the other; only the main process may write, move or delete a file."""
    ssc.runtime.distributed._BUCKET = 1000  # the gradients of these small networks do not fit into one message
    if not is_main():
        Path.replace = Path.unlink = _refuse
    for run in runs:
        module = getattr(ssc.training, run["module"])
        getattr(module, f"train_{run['module']}")(**run["arguments"])


def train_irn_until_a_process_dies(*, last: int, **arguments) -> None:
    """The second process is killed before step `last`."""

    def set_rate(optimizer, step, total):
        if step == last and not is_main():
            os.kill(os.getpid(), signal.SIGKILL)
        set_poly_lr(optimizer, step, total)

    ssc.training.irn.set_poly_lr = set_rate
    ssc.training.irn.train_irn(**arguments)


def _refuse(*_, **__):
    raise AssertionError("a process that is not the main one wants to write")


def train_irn_until_a_signal(*, last: int, **arguments) -> None:
    """At step `last` the second process sends the launcher the signal that comes before pre-emption."""

    def set_rate(optimizer, step, total):
        if step == last and not is_main():
            os.kill(os.getppid(), signal.SIGUSR1)
        set_poly_lr(optimizer, step, total)
        time.sleep(0.5)

    ssc.training.irn.set_poly_lr = set_rate
    ssc.training.irn.train_irn(**arguments)
