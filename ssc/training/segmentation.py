"""Training of DeepLabV2 on pseudo-labels: one network, or two that are co-trained (paper section IV-A)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ssc.archive import Archive
from ssc.constants import IGNORE
from ssc.data.check import NO_VAL_MASKS
from ssc.data.index import Row, read_index
from ssc.data.photos import read_for_resize
from ssc.data.transforms import augment, augment_part, random_part, scaled_size
from ssc.losses import masked_cross_entropy
from ssc.models.backbones import freeze_batch_norm
from ssc.models.deeplab import DeepLabV2, mean_logits
from ssc.runtime.distributed import processes, rank, synchronise_norms
from ssc.runtime.errors import InputError
from ssc.training.colours import jitter
from ssc.training.cotraining import cotraining_losses, mask_labels
from ssc.training.run import Run, sgd
from ssc.training.selection import BestEpoch
from ssc.workflow.settings import Segmentation


def train_segmentation(
    run: Run,
    *,
    index: str | Path,
    pseudo_labels: Sequence[str | Path],
    confidence: Sequence[str | Path],
    initial: str | Path | None,
    val_index: str | Path | None = None,
    val_masks: Sequence[str | Path] = (),
    settings: Segmentation,
) -> None:
    """Train the segmentation network, or with co-training the two networks, and write the weights: the part
    `segmentation` and, with co-training, `segmentation_2`.

    Args:
        run: what all trainings are told.
        index: the index; its training split is used.
        pseudo_labels: shard archives of pseudo-labels (0..C, 255 ignored).
        confidence: shard archives of confidence masks (0/1). Plain training ignores unconfident pixels, or none if this
            is empty; co-training needs the masks.
        initial: weights of the backbone; None for random ones. Heads are random, another one for each network.
        val_index, val_masks: validation photos and shard archives of their ground truth, for `select_on_val`.
        settings: the section `segmentation`.

    Raises:
        InputError: no validation photo has a mask where these select the epoch, co-training without confidence masks,
            weights that do not fit, unreadable photos, a diverging training, or batch norms to be trained by several
            processes on the CPU.
    """
    cotrained = settings.training == "cotraining"
    if cotrained and not confidence:
        raise InputError("segmentation.training: cotraining needs confidence masks; give them, or set it to plain.")
    table = read_index(index)
    val = _masked_photos(val_index, val_masks) if settings.select_on_val else []
    files = [*pseudo_labels, *confidence, initial, *val_masks]
    if run.restored(__name__, table, settings, files, {"val": [row.key for row in val]}):
        return
    options = {
        "num_classes": table.num_classes + 1,
        "backbone": settings.backbone,
        "output_stride": settings.output_stride,
        "rates": settings.rates,
    }
    names = ["segmentation", "segmentation_2"] if cotrained else ["segmentation"]
    networks = [DeepLabV2(**options, weights=initial).to(run.device, memory_format=torch.channels_last) for _ in names]
    own = {"rows": val, "masks": Archive(*val_masks), "classes": options["num_classes"], "side": settings.crop}
    best = BestEpoch(networks, **own) if val else None
    groups = [(network.backbone.parameters(), settings.lr) for network in networks]
    groups += [(network.aspp.parameters(), settings.head_lr) for network in networks]
    optimizer = sgd(settings, *groups)
    for network in networks:
        network.train()
        if settings.freeze_norm:
            freeze_batch_norm(network)
        synchronise_norms(network)
        if run.compile:
            network.compile()
    masks = Archive(*confidence) if confidence else None
    sample = Sampler(Archive(*pseudo_labels), masks, settings)
    loader = run.loader(table.split("train"), sample, settings.batch_size)
    numbers = range(rank(), loader.batch_size, processes())  # of this process's photos in the whole batch
    modules = [*networks, best] if best else networks
    for epoch, step, (image, labels, confident) in run.steps(
        loader, settings.epochs, modules, [optimizer], min_lr=settings.min_lr
    ):
        # Four numbers: the loader's streams have two and three.
        rngs = [np.random.default_rng((run.seed, 0, step, number + 1)) for number in numbers]
        if cotrained:
            online = epoch >= settings.cotraining.warm_up
            losses = cotraining_losses(
                networks, image, labels, confident, online=online, settings=settings.cotraining, rngs=rngs,
                colours=settings.colours, precision=run.precision, processes=processes(),
            )  # fmt: skip
        else:
            target = mask_labels(labels, confident)
            image = jitter(image, rngs) if settings.colours else image
            logits = mean_logits(networks, image, size=labels.shape[-2:], precision=run.precision)
            losses = {"cross_entropy": masked_cross_entropy(logits, target, total=run.sum((target != IGNORE).sum()))}
        run.update(losses)
        if best and (step + 1) % len(loader) == 0:
            best.consider(networks, run)
    kept = best.networks if best else networks
    run.finish({name: (network, options) for name, network in zip(names, kept, strict=True)})


def _masked_photos(index: str | Path, masks: Sequence[str | Path]) -> list[Row]:
    """The validation photos that have a mask."""
    archive = Archive(*masks)
    rows = [row for row in read_index(index).split("val") if row.id in archive]
    if not rows:
        raise InputError(NO_VAL_MASKS)
    return rows


class Sampler:
    """Training sample of the segmentation network: image (3, S, S), labels (S, S) int64, confident (S, S) bool.

    Pixels outside the photo have the label 255 and are confident: no loss counts them. Without confidence masks every
    pixel is confident. Windows are drawn as `settings.windows` says.
    """

    def __init__(self, labels: Archive, confidence: Archive | None, settings: Segmentation):
        self.labels, self.confidence, self.settings = labels, confidence, settings

    def __call__(self, row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        labels = self.labels.labels(row.id)
        confidence = self.confidence.labels(row.id) if self.confidence else np.ones_like(labels)
        own, maps = self.settings, [labels, confidence]
        if own.windows == "resized":
            part = random_part(labels.shape, area=own.area, aspect=own.aspect, rng=rng)
            scale = own.crop / min(map(len, part))
            image, _ = read_for_resize(row.image, lambda size: scaled_size(size, scale))
            image, (labels, confidence) = augment_part(image, maps, part=part, crop=own.crop, rng=rng)
        else:
            scale = own.scales[rng.integers(len(own.scales))]
            image, size = read_for_resize(row.image, lambda size: scaled_size(size, scale))
            image, (labels, confidence) = augment(image, maps, size=size, fills=[IGNORE, 1], crop=own.crop, rng=rng)
        return image, labels, confidence == 1
