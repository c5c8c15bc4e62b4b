"""Training of DeepLabV2 on pseudo-labels: one network, or two that are co-trained (paper section IV-A)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ssc.archive import Archive
from ssc.conventions import IGNORE
from ssc.data.index import Row, read_index
from ssc.data.loader import TrainingLoader
from ssc.data.transforms import augment, read_for_resize, scaled_size
from ssc.device import select_device, select_precision
from ssc.distributed import global_sum, is_main, processes, rank, sum_gradients, synchronise_norms
from ssc.errors import InputError
from ssc.models.backbones import freeze_batch_norm
from ssc.models.deeplab import DeepLabV2, mean_logits
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
from ssc.training.cotraining import cotraining_losses, mask_labels
from ssc.weights import save_weights


def train_segmentation(
    *,
    index: str | Path,
    pseudo_labels: Sequence[str | Path],
    confidence: Sequence[str | Path],
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
    """Train the segmentation network, or with co-training the two networks, and write the weights.

    Args:
        index: the index; its training split is used.
        pseudo_labels: shard archives of pseudo-labels (0..C, 255 ignored).
        confidence: shard archives of confidence masks (0/1). Plain training ignores unconfident pixels, or none if this
            is empty; co-training needs the masks.
        initial: weights of the backbone; None for random ones. Heads are random, another one for each network.
        output: safetensors file with the part `segmentation` and, with co-training, `segmentation_2`.
        history: JSON file of the losses over the training.
        settings: the `segmentation` section of the config.
        seed, device, precision, compile, workers, threads: as in `train_classifier`.

    Raises:
        InputError: co-training without confidence masks, weights that do not fit, unreadable photos, a diverging
            training, or batch norms to be trained by several processes on the CPU.
    """
    cotrained = settings["training"] == "cotraining"
    if cotrained and not confidence:
        raise InputError("segmentation.training: cotraining needs confidence masks; give them, or set it to plain.")
    seed_everything(seed, threads)
    device = select_device(device)
    precision = select_precision(precision, device)
    table = read_index(index)
    rows = table.split("train")
    identity = training_identity(
        __name__,
        table,
        settings=settings,
        seed=seed,
        precision=precision,
        threads=threads,
        files=[*pseudo_labels, *confidence, initial],
    )
    if take_over(identity, output, history):
        return
    options = {
        "num_classes": table.num_classes + 1,
        "backbone": settings["backbone"],
        "output_stride": settings["output_stride"],
        "rates": settings["rates"],
    }
    parts = ["segmentation", "segmentation_2"] if cotrained else ["segmentation"]
    networks = [DeepLabV2(**options, weights=initial).to(device, memory_format=torch.channels_last) for _ in parts]
    optimizer = torch.optim.SGD(
        [
            {"params": part.parameters(), "lr": lr}
            for network in networks
            for part, lr in ((network.backbone, settings["lr"]), (network.aspp, settings["head_lr"]))
        ],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    sample = Sampler(
        labels=Archive(*pseudo_labels),
        confidence=Archive(*confidence) if confidence else None,
        scales=settings["scales"],
        crop=settings["crop"],
    )
    loader = TrainingLoader(rows, sample, batch_size=settings["batch_size"], seed=seed, workers=workers)
    epochs, total = settings["epochs"], settings["epochs"] * len(loader)
    losses_over_time = History(total)
    checkpoint = Checkpoint(
        output,
        identity=identity,
        modules=networks,
        optimizers=[optimizer],
        history=losses_over_time,
    )
    done = checkpoint.resume()
    for network in networks:
        network.train()
        if settings["freeze_norm"]:
            freeze_batch_norm(network)
        synchronise_norms(network)
        if compile:
            network.compile()
    # Numbers of this process's images in the whole batch.
    numbers = range(rank(), loader.batch_size, processes())
    log.info("Segmentation: %d images, %d epochs of %d steps on %s.", len(rows), epochs, len(loader), device)
    for epoch in range(done // len(loader), epochs):
        step = max(done, epoch * len(loader))
        batches = loader.epoch(epoch, skip=step % len(loader))
        for batch in track(batches, f"epoch {epoch + 1}/{epochs}"):
            seed_step(seed, step)
            image, labels, confident = (tensor.to(device, non_blocking=True) for tensor in batch)
            set_poly_lr(optimizer, step, total, floor=settings["min_lr"])
            if cotrained:
                losses = cotraining_losses(
                    networks,
                    image,
                    labels,
                    confident,
                    online=epoch >= settings["cotraining"]["warm_up"],
                    settings=settings["cotraining"],
                    # Four numbers: the loader's streams have two and three.
                    rngs=[np.random.default_rng((seed, 0, step, number + 1)) for number in numbers],
                    precision=precision,
                )
            else:
                logits = mean_logits(networks, image, size=labels.shape[-2:], precision=precision)
                losses = {"cross_entropy": masked_cross_entropy(logits, mask_labels(labels, confident))}
            optimizer.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            sum_gradients(networks)
            optimizer.step()
            losses_over_time.add(step, losses)
            step += 1
            checkpoint.end_if_asked(step)
        checkpoint.save(step)

    if is_main():
        losses_over_time.write(history)
        trained = {part: (network, options) for part, network in zip(parts, networks, strict=True)}
        save_weights(output, trained, classes=table.classes, seed=seed, settings=settings)
        checkpoint.finish(output, history)


def masked_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of logits (B, K, H, W) over pixels whose target (B, H, W) is not 255; 0 where all are.

    Of several processes, a share: they count their pixels together.
    """
    loss = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return loss / global_sum((target != IGNORE).sum()).clamp(min=1)


class Sampler:
    """Training sample of the segmentation network: image (3, S, S), labels (S, S) int64, confident (S, S) bool.

    Pixels outside the photo have the label 255 and are confident: no loss counts them. Without confidence masks every
    pixel is confident.
    """

    def __init__(self, *, labels: Archive, confidence: Archive | None, scales: Sequence[float], crop: int):
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
