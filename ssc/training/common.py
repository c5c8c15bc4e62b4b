"""What the training loops share: schedule, loss history, resumable checkpoints."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ssc.distributed import global_sum, is_main, rank, wait_for_all
from ssc.errors import InputError
from ssc.files import atomic, write_json
from ssc.progress import log

_HISTORY_POINTS = 200


def seed_everything(seed: int) -> None:
    """Seed torch and ask for deterministic kernels (CUDA's few without one warn)."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def seed_epoch(seed: int, epoch: int) -> None:
    """Seed torch for an epoch, in each process differently: dropout goes on alike in a resumed training."""
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, rank())).generate_state(1)[0]))


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


class Checkpoint:
    """State of an unfinished training, beside its output; with it a killed job goes on from its last epoch.

    It knows nothing of the number of processes; all of them restore what the main one has saved.

    Args:
        output: the weight file that the training is to write; the checkpoint is `<output>.checkpoint`.
        identity: JSON values that determine the result; a checkpoint of another identity is not used.
        inputs: files that determine the result by their content (None is left out), such as the weights to start from.
        modules, optimizers: what to save and restore.
    """

    def __init__(
        self,
        output: str | Path,
        *,
        identity: dict,
        inputs: Sequence[str | Path | None],
        modules: Sequence[nn.Module],
        optimizers: Sequence[Optimizer],
        history: History,
    ):
        self.path = Path(f"{output}.checkpoint")
        self._digest = _digest(identity, inputs)
        self._modules, self._optimizers, self._history = modules, optimizers, history

    def resume(self) -> int:
        """Restore the saved state; the number of finished epochs, 0 without a usable checkpoint."""
        if not self.path.exists():
            return 0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            usable = state["digest"] == self._digest
        except Exception as error:  # a torn file may fail in many ways; none of them may stop a fresh start
            log.warning("%s cannot be read (%s)", self.path, error)
            usable = False
        if not usable:
            wait_for_all()  # until each has seen it
            if is_main():
                aside = self.path.with_suffix(".unused")
                self.path.replace(aside)
                log.warning(
                    "The checkpoint belongs to another run or is damaged: set aside as %s, starting afresh.", aside
                )
            return 0
        for module, saved in zip(self._modules, state["modules"], strict=True):
            module.load_state_dict(saved)
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._history.load_state_dict(state["history"])
        log.info("Resumed after epoch %d.", state["epoch"])
        return state["epoch"]

    def save(self, epoch: int) -> None:
        """Save the state after `epoch` finished epochs."""
        if not is_main():
            return
        state = {
            "digest": self._digest,
            "epoch": epoch,
            "modules": [module.state_dict() for module in self._modules],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "history": self._history.state_dict(),
        }
        with atomic(self.path) as temporary:
            torch.save(state, temporary)

    def remove(self) -> None:
        """Delete the checkpoint: the training is done."""
        self.path.unlink(missing_ok=True)


def _digest(identity: dict, inputs: Sequence[str | Path | None]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for path in inputs:
        if path is not None:
            with Path(path).open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
