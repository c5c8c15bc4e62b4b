"""Training of IRN on the confident labels that the dense CRF left (Ahn et al. 2019)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ssc.affinity import count_pairs, irn_losses
from ssc.archive import Archive
from ssc.constants import IGNORE, STRIDE
from ssc.data.index import Row, read_index
from ssc.data.photos import read_for_resize
from ssc.data.transforms import augment, scaled_size
from ssc.models.irn import IRN
from ssc.runtime.distributed import processes
from ssc.runtime.progress import track
from ssc.training.loader import TrainingLoader
from ssc.training.run import Run, sgd
from ssc.workflow import settings as typed


def train_irn(
    run: Run,
    *,
    index: str | Path,
    labels: Sequence[str | Path],
    initial: str | Path | None,
    settings: typed.IRN,
) -> None:
    """Train the edge head and, with a `displacement_lr`, the displacement head; write the network's weights: the part
    `irn`. Neither head depends on the other.

    Args:
        run: what all trainings are told.
        index: the index; its training split is used.
        labels: shard archives of confident labels (0 background, 1..C, 255 unknown).
        initial: weights of the frozen backbone; None for random ones.
        settings: the section `irn`.

    Raises:
        InputError: weights that do not fit, unreadable photos, or a diverging training.
    """
    table = read_index(index)
    if run.restored(__name__, table, settings, [*labels, initial]):
        return
    displaced = settings.displacement_lr is not None
    options = {"backbone": settings.backbone, "output_stride": settings.output_stride, "displacement": displaced}
    model = IRN(**options, weights=initial).to(run.device, memory_format=torch.channels_last).train()
    groups = [(model.edge_parameters(), settings.lr)]
    if displaced:
        groups.append((model.displacement_parameters(), settings.displacement_lr))
    optimizer = sgd(settings, *groups)
    if run.compile:
        model.compile()
    sample = Sampler(Archive(*labels), scale=settings.scale, crop=settings.crop)
    loader = run.loader(table.split("train"), sample, settings.batch_size)
    for _, _, (image, target) in run.steps(loader, settings.epochs, [model], [optimizer]):
        with run.autocast():
            edges, displacement = model(image)
        # Without other processes the losses count their pairs as they go.
        pairs = run.sum(count_pairs(target, settings.radius)) if processes() > 1 else None
        run.update(irn_losses(edges, displacement, target, settings.radius, total=pairs))
    if displaced:
        model.displacement_mean.copy_(mean_displacement(model, loader, run))
    run.finish({"irn": (model, options)})


@torch.no_grad()
def mean_displacement(model: IRN, loader: TrainingLoader, run: Run) -> torch.Tensor:
    """Mean displacement (2,) over one pass through the training set, as in the IRN paper's inference."""
    total, count = torch.zeros(2, device=run.device), torch.zeros((), device=run.device)
    # The heads hold no dropout and no batch norm: training mode only keeps the old mean from being subtracted.
    for image, _ in track(loader.epoch(0), "mean displacement", len(loader)):
        with run.autocast():
            displacement = model(image.to(run.device, non_blocking=True))[1]
        total += displacement.float().mean(dim=(2, 3)).sum(dim=0)
        count += len(image)
        run.end_if_asked()
    return run.sum(total) / run.sum(count)


class Sampler:
    """Training sample of IRN: image (3, S, S) and confident labels at stride 4 (S / 4, S / 4), 255 outside."""

    def __init__(self, archive: Archive, *, scale: Sequence[float], crop: int):
        self.archive, self.scale, self.crop = archive, scale, crop

    def __call__(self, row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        scale = rng.uniform(*self.scale)
        maps = [self.archive.labels(row.id)]
        image, size = read_for_resize(row.image, lambda size: scaled_size(size, scale))
        image, (labels,) = augment(image, maps, size=size, fills=[IGNORE], crop=self.crop, rng=rng)
        return image, labels[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]  # the pixels at the cells' centres
