"""Training of DeepLabV2 on pseudo-labels (paper section IV-A)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ssc.archive import Archive
from ssc.conventions import IGNORE
from ssc.data.index import Row, read_index
from ssc.data.loader import TrainingLoader
from ssc.data.transforms import augment, read_image
from ssc.device import autocast, select_device
from ssc.models.backbones import freeze_batch_norm
from ssc.models.deeplab import DeepLabV2
from ssc.progress import log, track
from ssc.training.common import Checkpoint, History, seed_everything, set_poly_lr
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
    workers: int = 0,
) -> None:
    """Train the segmentation network and write its weights.

    Args:
        index: the index; its training split is used.
        pseudo_labels: shard archives of pseudo-labels (0..C, 255 ignored).
        confidence: shard archives of confidence masks (0/1); unconfident pixels are ignored. Empty: all count.
        initial: weights of the backbone; None for random ones.
        output: safetensors file with the part `segmentation`.
        history: JSON file of the loss over the training.
        settings: the `segmentation` section of the config.
        seed, device, precision, workers: as in `train_classifier`.

    Raises:
        InputError: weights that do not fit, unreadable photos, or a diverging training.
    """
    seed_everything(seed)
    device = select_device(device)
    table = read_index(index)
    rows = table.split("train")
    options = {
        "num_classes": table.num_classes + 1,
        "backbone": settings["backbone"],
        "output_stride": settings["output_stride"],
        "rates": settings["rates"],
    }
    model = DeepLabV2(**options, weights=initial).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        [
            {"params": model.backbone.parameters(), "lr": settings["lr"]},
            {"params": model.aspp.parameters(), "lr": settings["head_lr"]},
        ],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
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
        identity={"model": options, "settings": settings, "seed": seed, "precision": precision},
        inputs=[index, *pseudo_labels, *confidence, initial],
        modules=[model],
        optimizers=[optimizer],
        history=losses_over_time,
    )
    first = checkpoint.resume()
    model.train()
    if settings["freeze_norm"]:
        freeze_batch_norm(model)
    log.info("Segmentation: %d images, %d epochs of %d steps on %s.", len(rows), epochs, len(loader), device)
    for epoch in range(first, epochs):
        step = epoch * len(loader)
        for image, target in track(loader.epoch(epoch), f"epoch {epoch + 1}/{epochs}", len(loader)):
            set_poly_lr(optimizer, step, total, floor=settings["min_lr"])
            with autocast(device, precision):
                logits = model(image.to(device, non_blocking=True))
            logits = F.interpolate(logits.float(), size=target.shape[-2:], mode="bilinear", align_corners=False)
            loss = masked_cross_entropy(logits, target.to(device, non_blocking=True))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses_over_time.add(step, {"cross_entropy": loss})
            step += 1
        checkpoint.save(epoch + 1)

    losses_over_time.write(history)
    save_weights(output, {"segmentation": (model, options)}, classes=table.classes, seed=seed, settings=settings)
    checkpoint.remove()


def masked_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of logits (B, K, H, W) over pixels whose target (B, H, W) is not 255; 0 where all are."""
    loss = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return loss / (target != IGNORE).sum().clamp(min=1)


class Sampler:
    """Training sample of the segmentation network: image (3, S, S) and target (S, S) int64 with 255 = ignored."""

    def __init__(self, *, labels: Archive, confidence: Archive | None, scales: Sequence[float], crop: int):
        self.labels, self.confidence, self.scales, self.crop = labels, confidence, scales, crop

    def __call__(self, row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        labels = self.labels.labels(row.id)
        if self.confidence:
            labels = np.where(self.confidence.labels(row.id) == 1, labels, IGNORE)
        scale = self.scales[rng.integers(len(self.scales))]
        image, (target,) = augment(
            read_image(row.image), [labels], scale=scale, fills=[IGNORE], crop=self.crop, rng=rng
        )
        return image, target
