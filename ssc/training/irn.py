"""Training of IRN on the confident labels that the dense CRF left (DESIGN section "IRN"; Ahn et al. 2019)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ssc.affinity import irn_losses
from ssc.archive import Archive
from ssc.conventions import IGNORE, STRIDE
from ssc.data.index import Row, read_index
from ssc.data.loader import TrainingLoader
from ssc.data.transforms import augment, read_for_resize, scaled_size
from ssc.device import autocast, select_device, select_precision
from ssc.distributed import global_sum, is_main, sum_gradients
from ssc.models.irn import IRN
from ssc.progress import log, track
from ssc.training.common import (
    Checkpoint,
    History,
    seed_everything,
    seed_step,
    set_poly_lr,
    take_over,
    training_identity,
)
from ssc.weights import save_weights


def train_irn(
    *,
    index: str | Path,
    labels: Sequence[str | Path],
    initial: str | Path | None,
    output: str | Path,
    history: str | Path,
    settings: dict,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    workers: int = 0,
    threads: int | None = None,
) -> None:
    """Train the edge and displacement heads and write the network's weights.

    Args:
        index: the index; its training split is used.
        labels: shard archives of confident labels (0 background, 1..C, 255 unknown).
        initial: weights of the frozen backbone; None for random ones.
        output: safetensors file with the part `irn`.
        history: JSON file of the losses over the training.
        settings: the `irn` section of the config.
        seed, device, precision, compile, workers, threads: as in `train_classifier`.

    Raises:
        InputError: weights that do not fit, unreadable photos, or a diverging training.
    """
    seed_everything(seed, threads)
    device = select_device(device)
    precision = select_precision(precision, device)
    table = read_index(index)
    rows = table.split("train")
    identity = training_identity(
        __name__, table, settings=settings, seed=seed, precision=precision, threads=threads, files=[*labels, initial]
    )
    if take_over(identity, output, history):
        return
    options = {"backbone": settings["backbone"], "output_stride": settings["output_stride"]}
    model = IRN(**options, weights=initial).to(device, memory_format=torch.channels_last).train()
    edge = [*model.edge.parameters(), *model.edge_fuse.parameters()]
    displacement = [
        parameter
        for module in (model.displacement, model.displacement_deep, model.displacement_fuse)
        for parameter in module.parameters()
    ]
    optimizer = torch.optim.SGD(
        [{"params": edge, "lr": settings["lr"]}, {"params": displacement, "lr": settings["displacement_lr"]}],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    if compile:
        model.compile()
    sample = Sampler(archive=Archive(*labels), scale=settings["scale"], crop=settings["crop"])
    loader = TrainingLoader(rows, sample, batch_size=settings["batch_size"], seed=seed, workers=workers)
    epochs, total = settings["epochs"], settings["epochs"] * len(loader)
    losses_over_time = History(total)
    checkpoint = Checkpoint(
        output,
        identity=identity,
        modules=[model],
        optimizers=[optimizer],
        history=losses_over_time,
    )
    done = checkpoint.resume()
    log.info("IRN: %d images, %d epochs of %d steps on %s.", len(rows), epochs, len(loader), device)
    for epoch in range(done // len(loader), epochs):
        step = max(done, epoch * len(loader))
        batches = loader.epoch(epoch, skip=step % len(loader))
        for image, target in track(batches, f"epoch {epoch + 1}/{epochs}"):
            seed_step(seed, step)
            set_poly_lr(optimizer, step, total)
            with autocast(device, precision):
                edges, displacements = model(image.to(device, non_blocking=True))
            target = target.to(device, non_blocking=True)
            losses = irn_losses(edges.float(), displacements.float(), target, radius=settings["radius"])
            optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            sum_gradients([model])
            optimizer.step()
            losses_over_time.add(step, losses)
            step += 1
            checkpoint.end_if_asked(step)
        checkpoint.save(step)

    mean = _mean_displacement(
        model, loader, device=device, precision=precision, step=lambda: checkpoint.end_if_asked(total)
    )
    model.displacement_mean.copy_(mean)
    if is_main():
        losses_over_time.write(history)
        save_weights(output, {"irn": (model, options)}, seed=seed, settings=settings)
        checkpoint.finish(output, history)


class Sampler:
    """Training sample of IRN: image (3, S, S) and confident labels at stride 4 (S / 4, S / 4), 255 outside."""

    def __init__(self, *, archive: Archive, scale: tuple[float, float], crop: int):
        self.archive, self.scale, self.crop = archive, scale, crop

    def __call__(self, row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        scale = rng.uniform(*self.scale)
        maps = [self.archive.labels(row.id)]
        image, size = read_for_resize(row.image, lambda size: scaled_size(size, scale))
        image, (labels,) = augment(image, maps, size=size, fills=[IGNORE], crop=self.crop, rng=rng)
        return image, labels[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]  # the pixels at the cells' centres


@torch.no_grad()
def _mean_displacement(
    model: IRN, loader: TrainingLoader, *, device: torch.device, precision: str, step: Callable[[], None]
) -> torch.Tensor:
    """Mean displacement (2,) over one pass through the training set, as in the IRN paper's inference; `step` is called
    after each batch."""
    total, count = torch.zeros(2, device=device), torch.zeros((), device=device)
    # The heads hold no dropout and no batch norm: training mode only keeps the old mean from being subtracted.
    for image, _ in track(loader.epoch(0), "IRN, mean displacement", len(loader)):
        with autocast(device, precision):
            displacement = model(image.to(device, non_blocking=True))[1]
        total += displacement.float().mean(dim=(2, 3)).sum(dim=0)
        count += len(image)
        step()
    return global_sum(total) / global_sum(count)
