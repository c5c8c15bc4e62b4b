"""What the training loops share: schedule, loss history, resumable checkpoints."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ssc import kept
from ssc.data.index import Index
from ssc.distributed import global_sum, is_main, processes, rank
from ssc.errors import InputError, Interrupted
from ssc.files import atomic, write_json
from ssc.interruption import received
from ssc.progress import log
from ssc.provenance import result_identity

_HISTORY_POINTS = 200


def seed_everything(seed: int, threads: int | None = None) -> None:
    """Seed torch and ask for deterministic kernels (CUDA's few without one warn).

    On the CPU sums are cut by threads: `threads` fixes their number, of all processes together; None leaves it.
    """
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(max(1, threads // processes()))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def seed_step(seed: int, step: int) -> None:
    """Seed torch for a step, in each process differently: dropout goes on alike in a resumed training."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank())).generate_state(1)[0]))


def set_poly_lr(optimizer: Optimizer, step: int, total: int, *, power: float = 0.9, floor: float = 0.0) -> None:
    """Set every group's rate to max(floor, initial * (1 - step / total)^power); `initial_lr` is kept in the group."""
    for group in optimizer.param_groups:
        initial = group.setdefault("initial_lr", group["lr"])
        group["lr"] = max(floor, initial * (1 - step / total) ** power)


class History:
    """Means of the losses over equal stretches of the training, about 200 points whatever its length."""

    def __init__(self, total: int):
        self._every = max(1, total // _HISTORY_POINTS)
        self._pending: dict[str, list[float]] = {}
        self._step = 0
        self.points: list[dict[str, float]] = []

    def add(self, step: int, losses: dict[str, torch.Tensor]) -> None:
        """Take the losses of a step, counted from 0; those of several processes are added up.

        Raises:
            InputError: a loss of the stretch that the step ends is not finite.
        """
        self._step = step
        values = global_sum(torch.stack([value.detach() for value in losses.values()]))
        for name, value in zip(losses, values.tolist(), strict=True):
            self._pending.setdefault(name, []).append(value)
        if (step + 1) % self._every == 0:
            self._close()

    def _close(self) -> None:
        point = {name: float(np.mean(values)) for name, values in self._pending.items()}
        if not np.isfinite(list(point.values())).all():
            raise InputError(f"The training diverged at step {self._step} ({point}); lower the learning rate.")
        self.points.append({"step": self._step + 1, **point})
        self._pending = {}

    def state_dict(self) -> dict:
        """What a resumed training needs: the points and the losses of the unfinished stretch."""
        return {"points": self.points, "pending": self._pending, "step": self._step}

    def load_state_dict(self, state: dict) -> None:
        """Take over what `state_dict` gave."""
        self.points, self._pending, self._step = state["points"], state["pending"], state["step"]

    def write(self, path: str | Path) -> None:
        """Write the points as JSON, the last, shorter stretch included.

        Raises:
            InputError: one of its losses is not finite.
        """
        if self._pending:
            self._close()
        write_json(path, {"points": self.points})


def training_identity(
    module: str,
    table: Index,
    *,
    settings: dict,
    seed: int,
    precision: str,
    threads: int | None,
    files: Iterable[str | Path | None],
) -> str:
    """Identity of a training's result: code, settings, training images with their labels, and the files it reads."""
    values = {
        "classes": table.classes,
        "images": [row.key for row in table.split("train")],
        "settings": settings,
        "seed": seed,
        "precision": precision,
        "threads": threads,
    }
    return result_identity(module, values, files)


def checkpoint_path(output: str | Path) -> Path:
    """Where the checkpoint of a training lies that writes the weights `output`."""
    return Path(f"{output}.checkpoint")


def take_over(identity: str, *results: str | Path) -> bool:
    """Take over what an earlier training of the same identity has written; whether there is anything.

    The weights come first among the results.
    """
    found = all(kept.intact(path, identity) for path in results)
    if found:
        log.info("Nothing that the training depends on has changed: its result is kept.")
        if is_main():
            for path in results:
                kept.restore(path, identity)
            checkpoint_path(results[0]).unlink(missing_ok=True)  # of a job that was killed when it was done
    return found


class Checkpoint:
    """State of an unfinished training, beside its output; with it a killed job goes on from its last epoch.

    Asked to end by a signal (see `ssc.interruption`), a training saves its state at the end of the step and loses
    nothing. The checkpoint knows nothing of the number of processes; all of them restore what the main one has saved.

    Args:
        output: the weight file that the training is to write; the checkpoint is `<output>.checkpoint`.
        identity: of the result, see `ssc.provenance.result_identity`; a checkpoint of another identity is not used.
        modules, optimizers: what to save and restore.
    """

    def __init__(
        self,
        output: str | Path,
        *,
        identity: str,
        modules: Sequence[nn.Module],
        optimizers: Sequence[Optimizer],
        history: History,
    ):
        self.path = checkpoint_path(output)
        self._identity = identity
        self._modules, self._optimizers, self._history = modules, optimizers, history

    def resume(self) -> int:
        """Restore the saved state; the number of finished steps, 0 without a usable checkpoint."""
        if not self._sum(self.path.exists()):
            return 0
        reason = None
        try:
            with zipfile.ZipFile(self.path) as parts:
                if parts.testzip():  # torch.load does not look at checksums
                    raise zipfile.BadZipFile("a checksum does not match")
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["identity"] != self._identity:
                reason = "belongs to other settings, data or code"
        except Exception as error:  # a torn file may fail in many ways; none of them may stop a fresh start
            reason = f"cannot be read ({type(error).__name__})"
        if self._sum(reason is not None):  # as soon as one process cannot use it, none does
            if is_main():
                aside = self.path.with_suffix(".unused")
                self.path.replace(aside)
                log.warning("%s %s: set aside as %s, starting afresh.", self.path, reason or "is unusable", aside)
            return 0
        for module, saved in zip(self._modules, state["modules"], strict=True):
            module.load_state_dict(saved)
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._history.load_state_dict(state["history"])
        log.info("Resumed after step %d.", state["step"])
        return state["step"]

    def save(self, step: int) -> None:
        """Save the state after `step` finished steps."""
        if not is_main():
            return
        state = {
            "identity": self._identity,
            "step": step,
            "modules": [module.state_dict() for module in self._modules],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "history": self._history.state_dict(),
        }
        # Through memory: of a full disk torch.save says no more than that writing failed.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with atomic(self.path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def end_if_asked(self, step: int) -> None:
        """After `step` finished steps, end the training if a signal has asked any of its processes to.

        Raises:
            Interrupted: one has; the state is saved.
        """
        if self._sum(received() is not None):
            self.save(step)
            self._sum(False)  # none goes on before the main process has saved
            raise Interrupted(
                f"Ended by {received() or 'a signal'} after step {step}, which {self.path} holds; run again to go on."
            )

    def finish(self, *results: str | Path) -> None:
        """Keep the results for a rerun, and delete the checkpoint, since the training is done."""
        for path in results:
            kept.keep(path, self._identity)
        self.path.unlink(missing_ok=True)

    def _sum(self, value: bool) -> int:
        """In how many of the processes it is true."""
        if processes() == 1:
            return int(value)
        device = next(self._modules[0].parameters()).device
        return int(global_sum(torch.tensor(int(value), device=device)))
