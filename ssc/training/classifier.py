"""Training of the CAM classifier with DRS, CDR and ASM (paper section III)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ssc.archive import Archive
from ssc.data.index import Row, read_index
from ssc.data.loader import TrainingLoader
from ssc.data.transforms import MEAN, STD, augment, read_for_resize, scaled_size
from ssc.device import autocast, select_device, select_precision
from ssc.distributed import is_main, processes, sum_gradients, synchronise_norms
from ssc.losses import PerceptualLoss, alignment_loss
from ssc.models.classifier import CAMClassifier
from ssc.models.loss_networks import loss_network
from ssc.models.reconstruction import ReconstructionNet, decoder_input
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
from ssc.weights import load_backbone, load_whole, read_header, save_weights


def train_classifier(
    *,
    index: str | Path,
    superpixels: Sequence[str | Path],
    initial: str | Path | None,
    loss_weights: str | Path | None,
    output: str | Path,
    history: str | Path,
    settings: dict,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    memory: str = "fast",
    compile: bool = False,
    workers: int = 0,
    threads: int | None = None,
) -> None:
    """Train the classifier and write its weights.

    L = L_cls + alpha * L_rec + beta * L_align (paper eq. 10); L_rec is the perceptual loss, or L1, L2.

    Args:
        index: the index; its training split is used.
        superpixels: shard archives of superpixel maps; may be empty without ASM.
        initial: weights to start from: a backbone, or a classifier of the same classes; None for random ones.
        loss_weights: weights of the loss network, None for random ones.
        output: safetensors file with the parts `classifier` and, with CDR, `reconstruction`.
        history: JSON file of the losses over the training.
        settings: the `classifier` section of the config.
        seed: fixes initial weights, order and augmentation.
        device, precision, memory, compile, workers, threads: see the config.

    Raises:
        InputError: weights that do not fit, unreadable photos, a diverging training, or batch norms to be trained by
            several processes on the CPU.
    """
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
        files=[*superpixels, initial, loss_weights],
    )
    if take_over(identity, output, history):
        return
    cdr, asm = settings["cdr"], settings["asm"]
    options = classifier_arguments(settings, table.num_classes)
    model = CAMClassifier(**options)
    start_from(model, initial, table.classes)
    model = model.to(device, memory_format=torch.channels_last).eval()
    optimizer = torch.optim.SGD(
        [
            {"params": model.backbone.parameters(), "lr": settings["lr"]},
            {"params": model.classifier.parameters(), "lr": settings["head_lr"]},
        ],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    modules, optimizers = [model], [optimizer]
    decoder = reconstruction_loss = None
    if cdr["enabled"]:
        decoder_options = decoder_arguments(model, cdr, settings["crop"])
        decoder = ReconstructionNet(**decoder_options).to(device, memory_format=torch.channels_last)
        decoder.recompute = memory == "lean"
        reconstruction_loss = build_reconstruction_loss(cdr, loss_weights).to(device, memory_format=torch.channels_last)
        optimizers.append(torch.optim.Adam(decoder.parameters(), lr=cdr["lr"], betas=(0.5, 0.999), fused=True))
        modules.append(decoder)
    if compile:
        model.stages = torch.compile(model.stages)  # what the step calls in place of `forward`
        if decoder:
            decoder.compile()
        if isinstance(reconstruction_loss, PerceptualLoss):
            reconstruction_loss.network.compile()

    sample = Sampler(
        archive=Archive(*superpixels) if asm["enabled"] else None,
        num_classes=table.num_classes,
        resize_long=settings["resize_long"],
        crop=settings["crop"],
    )
    loader = TrainingLoader(rows, sample, batch_size=settings["batch_size"], seed=seed, workers=workers)
    epochs, total = settings["epochs"], settings["epochs"] * len(loader)
    losses_over_time = History(total)
    checkpoint = Checkpoint(
        output,
        identity=identity,
        modules=modules,
        optimizers=optimizers,
        history=losses_over_time,
    )
    done = checkpoint.resume()
    model.train()
    synchronise_norms(model)
    log.info("Classifier: %d images, %d epochs of %d steps on %s.", len(rows), epochs, len(loader), device)
    for epoch in range(done // len(loader), epochs):
        step = max(done, epoch * len(loader))
        batches = loader.epoch(epoch, skip=step % len(loader))
        for image, labels, regions in track(batches, f"epoch {epoch + 1}/{epochs}"):
            seed_step(seed, step)
            image, labels = image.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            for each in optimizers:
                set_poly_lr(each, step, total)
            with autocast(device, precision):
                losses = classifier_losses(
                    model,
                    image,
                    labels,
                    regions.to(device, non_blocking=True) if asm["enabled"] else None,
                    settings=settings,
                    epoch=epoch,
                    decoder=decoder,
                    reconstruction_loss=reconstruction_loss,
                )
            for each in optimizers:
                each.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            sum_gradients(modules)
            for each in optimizers:
                each.step()
            losses_over_time.add(step, losses)
            step += 1
            checkpoint.end_if_asked(step)
        checkpoint.save(step)

    parts = {"classifier": (model, options)}
    if cdr["enabled"]:
        parts["reconstruction"] = (decoder, decoder_options)
    if is_main():
        losses_over_time.write(history)
        save_weights(output, parts, classes=table.classes, seed=seed, settings=settings)
        checkpoint.finish(output, history)


def classifier_losses(
    model: CAMClassifier,
    image: torch.Tensor,
    labels: torch.Tensor,
    regions: torch.Tensor | None,
    *,
    settings: dict,
    epoch: int,
    decoder: ReconstructionNet | None = None,
    reconstruction_loss: torch.nn.Module | None = None,
) -> dict[str, torch.Tensor]:
    """The terms of a step's loss, weighted, so that their sum is the loss (paper eq. 10).

    Of several processes each gets its share of them.

    Args:
        model: the classifier.
        image: (B, 3, S, S), ImageNet-normalised.
        labels: (B, C), 1 where the class is present.
        regions: superpixels (B, S, S); read with ASM only.
        settings: the `classifier` section of the config.
        epoch: counted from 0; CDR and ASM begin at their `start_epoch`.
        decoder, reconstruction_loss: used with CDR only.
    """
    cdr, asm = settings["cdr"], settings["asm"]
    third, features = model.stages(image)
    # All processes have equally many images: a share of a mean over images is the own mean, divided.
    classification = F.multilabel_soft_margin_loss(features.float().mean(dim=(2, 3)), labels)
    losses = {"classification": classification / processes()}
    if cdr["enabled"] and epoch >= cdr["start_epoch"]:
        source = decoder_input(third, features, source=cdr["source"], rectify=cdr["rectify"])
        weight = cdr["alpha"] * ramp(epoch, cdr) / processes()
        losses["reconstruction"] = weight * reconstruction_loss(to_normalised(decoder(source)), image)
    if asm["enabled"] and epoch >= asm["start_epoch"]:
        losses["alignment"] = (asm["beta"] * ramp(epoch, asm)) * alignment_loss(
            features,
            regions,
            labels,
            threshold=asm["threshold"],
            erosion=asm["erosion"],
            reliable=asm["reliable"],
            detach_maximum=asm["detach_maximum"],
        )
    return losses


def ramp(epoch: int, settings: dict) -> float:
    """Factor of a loss that sets in at `start_epoch` and has its full weight `ramp_epochs` epochs later; in (0, 1]."""
    return min(1.0, (epoch - settings["start_epoch"] + 1) / (settings["ramp_epochs"] + 1))


class Sampler:
    """Training sample of the classifier: image (3, S, S), labels (C,) float, superpixels (S, S) int64.

    The long side is resized to a length drawn uniformly from `resize_long`; then mirror and crop. Pixels outside the
    photo form one superpixel of their own.
    """

    def __init__(self, *, archive: Archive | None, num_classes: int, resize_long: tuple[int, int], crop: int):
        self.archive, self.num_classes, self.resize_long, self.crop = archive, num_classes, resize_long, crop

    def __call__(self, row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        long = rng.integers(self.resize_long[0], self.resize_long[1] + 1)
        image, size = read_for_resize(row.image, lambda size: scaled_size(size, long / max(size)))
        regions = self.archive.labels(row.id) if self.archive else np.zeros(size, np.int32)
        outside = int(regions.max()) + 1
        tensor, (crop,) = augment(image, [regions], size=size, fills=[outside], crop=self.crop, rng=rng)
        labels = torch.zeros(self.num_classes)
        labels[[label - 1 for label in row.labels]] = 1
        return tensor, labels, crop


def start_from(model: CAMClassifier, initial: str | Path | None, classes: list[str]) -> None:
    """Load a classifier of the same classes as a whole, of any other weight file the backbone; None: nothing."""
    if initial is None:
        return
    try:
        header = read_header(initial)
    except ValueError:
        header = {"parts": {}, "facts": {}}  # torchvision's tensors have no header of ours
    if "classifier" in header["parts"] and header["facts"].get("classes") == classes:
        load_whole(model, initial, "classifier")
    else:
        load_backbone(model.backbone, initial)


def to_normalised(reconstruction: torch.Tensor) -> torch.Tensor:
    """Reconstruction in -1..1, read as colours 0..1, to the ImageNet-normalised range of the input image."""
    mean = reconstruction.new_tensor(MEAN).view(3, 1, 1)
    std = reconstruction.new_tensor(STD).view(3, 1, 1)
    return ((reconstruction + 1) / 2 - mean) / std


def classifier_arguments(settings: dict, num_classes: int) -> dict:
    """Arguments of the classifier, from the `classifier` section of the config."""
    return {
        "num_classes": num_classes,
        "backbone": settings["backbone"],
        "output_stride": settings["output_stride"],
        "drs": settings["drs"]["enabled"],
        "delta": settings["drs"]["delta"],
        "stop_gradient_after": settings["stop_gradient_after"],
        "freeze_norm": settings["freeze_norm"],
    }


def decoder_arguments(model: CAMClassifier, cdr: dict, crop: int) -> dict:
    """Arguments of the reconstruction net that brings the chosen features back to the size of the window.

    The model is in evaluation mode, so that the trial leaves no trace in batch norms.
    """
    with torch.no_grad():
        third, features = model.stages(torch.zeros(1, 3, crop, crop, device=next(model.parameters()).device))
    source = decoder_input(third, features, source=cdr["source"], rectify=cdr["rectify"])
    doublings = (crop // source.shape[-1]).bit_length() - 1
    return {"num_classes": source.shape[1], "width": cdr["width"], "upsamplings": doublings}


def build_reconstruction_loss(cdr: dict, weights: str | Path | None) -> torch.nn.Module:
    """The loss that `cdr.loss` names, of two images in the range of the normalised input; random `weights` if None."""
    if cdr["loss"] == "l1":
        return torch.nn.L1Loss()
    if cdr["loss"] == "l2":
        return torch.nn.MSELoss()
    return PerceptualLoss(loss_network(cdr["network"], taps=cdr["taps"], weights=weights), cdr["stage_weights"])
