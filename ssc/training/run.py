"""What the trainings share: their common arguments, and the loop around a step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from torch import nn
from torch.optim import Optimizer

from ssc.data.index import Index, Row
from ssc.models.weights import read_header, rename_classes, save_weights
from ssc.runtime import device as devices
from ssc.runtime.distributed import global_sum, is_main, processes, rank, sum_gradients
from ssc.runtime.progress import log, track
from ssc.training.checkpoint import Checkpoint, checkpoint_path
from ssc.training.forecast import Forecast
from ssc.training.loader import Sample, TrainingLoader
from ssc.training.loss_table import LossTable
from ssc.workflow import cache
from ssc.workflow.provenance import fingerprint


class Run:
    """One training: what all trainings are told, and the loop that they share. A training reads like this:

        if run.restored(__name__, table, settings, files):
            return
        ...
        for epoch, step, (image, labels) in run.steps(loader, settings.epochs, [model], [optimizer]):
            with run.autocast():
                ...
            run.update(losses)
        run.finish({"name": (model, options)})

    Args:
        output: safetensors file to write.
        losses: table of the losses to write, a line per step.
        seed: fixes initial weights, order and augmentation.
        device, precision, threads, workers, compile, memory, log: see the configuration.
        rest: what follows the training in its run, see `ssc.training.forecast`.
    """

    def __init__(
        self,
        *,
        output: str | Path,
        losses: str | Path,
        seed: int,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        workers: int = 0,
        compile: bool = False,
        memory: str = "fast",
        log: str = "table",
        rest: Sequence[float] = (0.0, 0.0),
    ):
        self.output, self.losses, self.seed = Path(output), Path(losses), seed
        self.device = devices.select_device(device)
        self.precision = devices.select_precision(precision, self.device)
        self.threads, self.workers, self.compile, self.memory = threads, workers, compile, memory
        self._rest = rest
        self._table = LossTable(self.losses, tensorboard=log == "tensorboard")

    def restored(
        self,
        module: str,
        table: Index,
        settings: BaseModel,
        files: Iterable[str | Path | None],
        values: Mapping = {},
    ) -> bool:
        """Seed torch; whether an earlier training from the same code, settings, photos, files and other `values` has
        left its result, which is then put in place. Classes may have other names by now; the weights get these.

        On the CPU sums are cut by threads: `threads` fixes their number, of all processes together; None leaves it.
        Kernels are deterministic (CUDA's few without such a one warn).
        """
        torch.manual_seed(self.seed)
        if self.threads:
            torch.set_num_threads(max(1, self.threads // processes()))
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        values = {
            **values,
            "classes": table.num_classes,
            "images": [row.key for row in table.split("train")],
            "seed": self.seed,
            "precision": self.precision,
            "threads": self.threads,
        }
        self._fingerprint = fingerprint(module, settings, values, files=files)
        self._facts = {"classes": table.classes, "seed": self.seed, "settings": settings.model_dump(mode="json")}
        found = all(cache.intact(path, self._fingerprint) for path in (self.output, self.losses))
        if found:
            log.info("Nothing that the training depends on has changed: its result is restored from the cache.")
            if is_main():
                for path in (self.output, self.losses):
                    cache.restore(path, self._fingerprint)
                    checkpoint_path(path).unlink(missing_ok=True)  # of a job that was killed when it was done
                if read_header(self.output)["facts"]["classes"] != table.classes:
                    rename_classes(self.output, table.classes)
                    cache.keep(self.output, self._fingerprint)
        return found

    def loader(self, rows: Sequence[Row], sample: Sample, batch_size: int) -> TrainingLoader:
        """Batches of the samples of `rows`, in the order that the seed fixes."""
        return TrainingLoader(rows, sample, batch_size=batch_size, seed=self.seed, workers=self.workers)

    def steps(
        self,
        loader: TrainingLoader,
        epochs: int,
        modules: Sequence[nn.Module],
        optimizers: Sequence[Optimizer],
        *,
        min_lr: float = 0.0,
    ) -> Iterator[tuple[int, int, list[torch.Tensor]]]:
        """Epoch, step (both from 0) and batch, on the device, of every step that is still to be done.

        Learning rates decay polynomially. The state is saved after each epoch, and where a signal asks the training to
        end; with it the next call goes on.
        """
        total = epochs * len(loader)
        self._modules, self._optimizers = modules, optimizers
        self._checkpoint = Checkpoint(
            self.output, fingerprint=self._fingerprint, modules=modules, optimizers=optimizers
        )
        self._done, earlier = self._checkpoint.resume()
        if is_main():
            self._table.begin(earlier)
        log.info("%d photos, %d epochs of %d steps on %s.", len(loader.rows), epochs, len(loader), self.device)
        forecast = Forecast(self.output.stem, total=total, rest=self._rest)
        for epoch in range(self._done // len(loader), epochs):
            batches = loader.epoch(epoch, skip=self._done % len(loader))
            for batch in track(batches, f"epoch {epoch + 1}/{epochs}", note=self._table.last):
                # In each process differently: dropout goes on alike in a resumed training.
                torch.manual_seed(int(np.random.SeedSequence((self.seed, self._done, rank())).generate_state(1)[0]))
                for optimizer in optimizers:
                    set_poly_lr(optimizer, self._done, total, floor=min_lr)
                yield epoch, self._done, [part.to(self.device, non_blocking=True) for part in batch]
                self._done += 1
                if is_main():
                    forecast.step(self._done)
                self.end_if_asked()
            self._checkpoint.save(self._done, self._table.text)

    def autocast(self) -> AbstractContextManager:
        """Mixed precision of the forward pass."""
        return devices.autocast(self.device, self.precision)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of a tensor over all processes, without gradient."""
        return global_sum(values)

    def update(self, losses: dict[str, torch.Tensor]) -> None:
        """Step down the gradient of `total`, or of the sum of all losses where there is none, and note them.

        Of several processes each gives its share of the losses, which add up.

        Raises:
            InputError: a loss is not finite.
        """
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        (losses["total"] if "total" in losses else sum(losses.values())).backward()
        sum_gradients(self._modules)
        for optimizer in self._optimizers:
            optimizer.step()
        values = global_sum(torch.stack([value.detach() for value in losses.values()])).tolist()
        rate = self._optimizers[0].param_groups[0]["lr"]
        self._table.add(self._done + 1, rate, dict(zip(losses, values, strict=True)))

    def end_if_asked(self) -> None:
        """End the training if a signal asks for it; its state is saved."""
        self._checkpoint.end_if_asked(self._done, self._table.text)

    def finish(self, parts: dict[str, tuple[nn.Module, dict]]) -> None:
        """Write the networks with the arguments they were built with, and drop the checkpoint."""
        if is_main():
            self._table.end()
            save_weights(self.output, parts, **self._facts)
            for path in (self.output, self.losses):
                cache.keep(path, self._fingerprint)
            checkpoint_path(self.output).unlink(missing_ok=True)


def sgd(settings: BaseModel, *groups: tuple[Iterable[nn.Parameter], float]) -> Optimizer:
    """SGD with the settings' momentum and weight decay over groups of parameters, each with its learning rate."""
    return torch.optim.SGD(
        [{"params": list(parameters), "lr": lr} for parameters, lr in groups],
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_poly_lr(optimizer: Optimizer, step: int, total: int, *, power: float = 0.9, floor: float = 0.0) -> None:
    """Set every group's rate to max(floor, initial * (1 - step / total)^power); `initial_lr` is kept in the group."""
    for group in optimizer.param_groups:
        initial = group.setdefault("initial_lr", group["lr"])
        group["lr"] = max(floor, initial * (1 - step / total) ** power)
