"""The state of an unfinished training, beside its output; with it a killed job goes on from its last epoch."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from ssc.runtime.distributed import global_sum, is_main, processes
from ssc.runtime.errors import Interrupted
from ssc.runtime.files import atomic
from ssc.runtime.progress import log
from ssc.training.signals import received


def checkpoint_path(output: str | Path) -> Path:
    """Where an output of a training, its weights or its table of losses, lies as long as the training is at work."""
    return Path(f"{output}.checkpoint")


class Checkpoint:
    """Saves and restores a training.

    Asked to end by a signal (see `ssc.training.signals`), a training saves its state at the end of the step and loses
    nothing. The checkpoint knows nothing of the number of processes; all of them restore what the main one has saved.

    Args:
        output: the weight file that the training is to write; the checkpoint is `<output>.checkpoint`.
        fingerprint: of the result, see `ssc.workflow.provenance`; a checkpoint of another fingerprint is not used.
        modules, optimizers: what to save and restore.
    """

    def __init__(
        self, output: str | Path, *, fingerprint: str, modules: Sequence[nn.Module], optimizers: Sequence[Optimizer]
    ):
        self.path = checkpoint_path(output)
        self._fingerprint, self._modules, self._optimizers = fingerprint, modules, optimizers

    def resume(self) -> tuple[int, str]:
        """Restore the saved state; the number of finished steps and the table of losses up to then, 0 and "" without a
        usable checkpoint."""
        if not self._count(self.path.exists()):
            return 0, ""
        reason = None
        try:
            with zipfile.ZipFile(self.path) as parts:
                if parts.testzip():  # torch.load does not look at checksums
                    raise zipfile.BadZipFile("a checksum does not match")
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["fingerprint"] != self._fingerprint:
                reason = "belongs to other settings, data or code"
        except Exception as error:  # a torn file may fail in many ways; none of them may stop a fresh start
            reason = f"cannot be read ({type(error).__name__})"
        if self._count(reason is not None):  # as soon as one process cannot use it, none does
            if is_main():
                aside = self.path.with_suffix(".unused")
                self.path.replace(aside)
                log.warning("%s %s: set aside as %s, starting afresh.", self.path, reason or "is unusable", aside)
            return 0, ""
        for module, saved in zip(self._modules, state["modules"], strict=True):
            module.load_state_dict(saved)
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        log.info("Resumed after step %d.", state["step"])
        return state["step"], state["losses"]

    def save(self, step: int, losses: str) -> None:
        """Save the state after `step` finished steps, with the table of their losses."""
        if not is_main():
            return
        state = {
            "fingerprint": self._fingerprint,
            "step": step,
            "losses": losses,
            "modules": [module.state_dict() for module in self._modules],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        # Through memory: of a full disk torch.save says no more than that writing failed.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with atomic(self.path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def end_if_asked(self, step: int, losses: str) -> None:
        """After `step` finished steps, end the training if a signal has asked any of its processes to.

        Raises:
            Interrupted: one has; the state is saved.
        """
        if self._count(received() is not None):
            self.save(step, losses)
            self._count(False)  # none goes on before the main process has saved
            raise Interrupted(
                f"Ended by {received() or 'a signal'} after step {step}, which {self.path} holds; run again to go on."
            )

    def _count(self, value: bool) -> int:
        """In how many of the processes it is true."""
        if processes() == 1:
            return int(value)
        device = next(self._modules[0].parameters()).device
        return int(global_sum(torch.tensor(int(value), device=device)))
