"""Training of DeepLabV2 on pseudo-labels: one network, or two that are co-trained (paper section IV-A)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ssc.archive import Archive
from ssc.constants import IGNORE
from ssc.data.index import Row, read_index
from ssc.data.transforms import augment, read_for_resize, scaled_size
from ssc.losses import masked_cross_entropy
from ssc.models.backbones import freeze_batch_norm
from ssc.models.deeplab import DeepLabV2, mean_logits
from ssc.runtime.distributed import processes, rank, synchronise_norms
from ssc.runtime.errors import InputError
from ssc.training.cotraining import cotraining_losses, mask_labels
from ssc.training.run import Run, sgd
from ssc.workflow.settings import Segmentation


def train_segmentation(
    run: Run,
    *,
    index: str | Path,
    pseudo_labels: Sequence[str | Path],
    confidence: Sequence[str | Path],
    initial: str | Path | None,
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
        settings: the section `segmentation`.

    Raises:
        InputError: co-training without confidence masks, weights that do not fit, unreadable photos, a diverging
            training, or batch norms to be trained by several processes on the CPU.
    """
    cotrained = settings.training == "cotraining"
    if cotrained and not confidence:
        raise InputError("segmentation.training: cotraining needs confidence masks; give them, or set it to plain.")
    table = read_index(index)
    if run.restored(__name__, table, settings, [*pseudo_labels, *confidence, initial]):
        return
    options = {
        "num_classes": table.num_classes + 1,
        "backbone": settings.backbone,
        "output_stride": settings.output_stride,
        "rates": settings.rates,
    }
    names = ["segmentation", "segmentation_2"] if cotrained else ["segmentation"]
    networks = [DeepLabV2(**options, weights=initial).to(run.device, memory_format=torch.channels_last) for _ in names]
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
    sample = Sampler(Archive(*pseudo_labels), masks, scales=settings.scales, crop=settings.crop)
    loader = run.loader(table.split("train"), sample, settings.batch_size)
    numbers = range(rank(), loader.batch_size, processes())  # of this process's photos in the whole batch
    for epoch, step, (image, labels, confident) in run.steps(
        loader, settings.epochs, networks, [optimizer], min_lr=settings.min_lr
    ):
        if cotrained:
            online = epoch >= settings.cotraining.warm_up
            # Four numbers: the loader's streams have two and three.
            rngs = [np.random.default_rng((run.seed, 0, step, number + 1)) for number in numbers]
            losses = cotraining_losses(
                networks, image, labels, confident, online=online, settings=settings.cotraining, rngs=rngs,
                precision=run.precision, processes=processes(),
            )  # fmt: skip
        else:
            target = mask_labels(labels, confident)
            logits = mean_logits(networks, image, size=labels.shape[-2:], precision=run.precision)
            losses = {"cross_entropy": masked_cross_entropy(logits, target, total=run.sum((target != IGNORE).sum()))}
        run.update(losses)
    run.finish({name: (network, options) for name, network in zip(names, networks, strict=True)})


class Sampler:
    """Training sample of the segmentation network: image (3, S, S), labels (S, S) int64, confident (S, S) bool.

    Pixels outside the photo have the label 255 and are confident: no loss counts them. Without confidence masks every
    pixel is confident.
    """

    def __init__(self, labels: Archive, confidence: Archive | None, *, scales: Sequence[float], crop: int):
        self.labels, self.confidence, self.scales, self.crop = labels, confidence, scales, crop

    def __call__(self, row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        labels = self.labels.labels(row.id)
        confidence = self.confidence.labels(row.id) if self.confidence else np.ones_like(labels)
        scale = self.scales[rng.integers(len(self.scales))]
        image, size = read_for_resize(row.image, lambda size: scaled_size(size, scale))
        image, (labels, confidence) = augment(
            image, [labels, confidence], size=size, fills=[IGNORE, 1], crop=self.crop, rng=rng
        )
        return image, labels, confidence == 1
