"""Training of the CAM classifier with DRS, CDR and ASM (paper section III)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ssc.archive import Archive
from ssc.data.index import Row, read_index
from ssc.data.photos import read_for_resize
from ssc.data.transforms import augment, scaled_size
from ssc.losses import ClassifierStep, PerceptualLoss, classifier_losses
from ssc.models.classifier import CAMClassifier
from ssc.models.perceptual import loss_network
from ssc.models.reconstruction import ReconstructionNet, decoder_input
from ssc.models.weights import load_backbone, load_whole, read_header
from ssc.runtime.distributed import processes, synchronise_norms
from ssc.training.run import Run, sgd
from ssc.workflow.settings import CDR, Classifier


def train_classifier(
    run: Run,
    *,
    index: str | Path,
    superpixels: Sequence[str | Path],
    initial: str | Path | None,
    loss_weights: str | Path | None,
    settings: Classifier,
) -> None:
    """Train the classifier and write its weights: the parts `classifier` and, with CDR, `reconstruction`.

    L = L_cls + alpha * L_rec + beta * L_align (paper eq. 10); L_rec is the perceptual loss, or L1, L2.

    Args:
        run: what all trainings are told.
        index: the index; its training split is used.
        superpixels: shard archives of superpixel maps; may be empty without ASM.
        initial: weights to start from: a backbone, or a classifier of the same classes; None for random ones.
        loss_weights: weights of the loss network, None for random ones.
        settings: the section `classifier`.

    Raises:
        InputError: weights that do not fit, unreadable photos, a diverging training, or batch norms to be trained by
            several processes on the CPU.
    """
    table = read_index(index)
    whole = initial is not None and is_classifier(initial, table.classes)
    if run.restored(__name__, table, settings, [*superpixels, initial, loss_weights], {"whole": whole}):
        return
    options = classifier_arguments(settings, table.num_classes)
    model = CAMClassifier(**options)
    start_from(model, initial, whole=whole)
    model = model.to(run.device, memory_format=torch.channels_last).eval()
    parts = {"classifier": (model, options)}
    groups = (model.backbone.parameters(), settings.lr), (model.classifier.parameters(), settings.head_lr)
    optimizers = [sgd(settings, *groups)]
    decoder = reconstruction_loss = None
    if settings.cdr.enabled:
        decoder_options = decoder_arguments(model, settings.cdr, settings.crop)
        decoder = ReconstructionNet(**decoder_options, gamma=settings.cdr.gamma)
        decoder.to(run.device, memory_format=torch.channels_last)
        decoder.recompute = run.memory == "lean"
        reconstruction_loss = build_reconstruction_loss(settings.cdr, loss_weights)
        reconstruction_loss.to(run.device, memory_format=torch.channels_last)
        optimizers.append(torch.optim.Adam(decoder.parameters(), lr=settings.cdr.lr, betas=(0.5, 0.999), fused=True))
        parts["reconstruction"] = (decoder, decoder_options)
    model.train()
    synchronise_norms(model)
    if run.compile:
        compile_networks(model, decoder, reconstruction_loss)

    archive = Archive(*superpixels) if settings.asm.enabled else None
    sample = Sampler(archive, num_classes=table.num_classes, resize_long=settings.resize_long, crop=settings.crop)
    loader = run.loader(table.split("train"), sample, settings.batch_size)
    modules = [module for module, _ in parts.values()]
    for epoch, _, (image, labels, regions) in run.steps(loader, settings.epochs, modules, optimizers):
        with run.autocast():
            early, features = model.forward_features(image)
            step = ClassifierStep(
                image, labels, regions, early, features, decoder, reconstruction_loss,
                processes=processes(), present=run.sum(labels.count_nonzero()),
            )  # fmt: skip
            losses = classifier_losses(step, settings, epoch=epoch)
        run.update(losses)
    run.finish(parts)


class Sampler:
    """Training sample of the classifier: image (3, S, S), labels (C,) float, superpixels (S, S) int64.

    The long side is resized to a length drawn uniformly from `resize_long`; then mirror and crop. Pixels outside the
    photo form one superpixel of their own. Without an archive, the photo is one superpixel.
    """

    def __init__(self, archive: Archive | None, *, num_classes: int, resize_long: Sequence[int], crop: int):
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


def is_classifier(path: str | Path, classes: Sequence[str]) -> bool:
    """Whether a weight file holds a classifier of these classes."""
    try:
        header = read_header(path)
    except ValueError:  # torchvision's tensors have no header of ours
        return False
    return "classifier" in header["parts"] and header["facts"].get("classes") == classes


def start_from(model: CAMClassifier, initial: str | Path | None, *, whole: bool) -> None:
    """Load the whole classifier of a weight file, or the backbone alone; None: nothing."""
    if whole:
        load_whole(model, initial, "classifier")
    elif initial is not None:
        load_backbone(model.backbone, initial)


def classifier_arguments(settings: Classifier, num_classes: int) -> dict:
    """Arguments of the classifier, from its settings."""
    return {
        "num_classes": num_classes,
        "backbone": settings.backbone,
        "output_stride": settings.output_stride,
        "drs": settings.drs.enabled,
        "delta": settings.drs.delta,
        "stop_gradient_after": settings.stop_gradient_after,
        "freeze_norm": settings.freeze_norm,
    }


def decoder_arguments(model: CAMClassifier, settings: CDR, crop: int) -> dict:
    """Arguments of the reconstruction net that brings the chosen features back to the size of the window.

    The model is in evaluation mode, so that the trial leaves no trace in batch norms.
    """
    with torch.no_grad():
        early, features = model.forward_features(torch.zeros(1, 3, crop, crop, device=next(model.parameters()).device))
    source = decoder_input(early, features, source=settings.source, rectify=settings.rectify)
    doublings = (crop // source.shape[-1]).bit_length() - 1
    return {"num_classes": source.shape[1], "width": settings.width, "upsamplings": doublings}


def build_reconstruction_loss(settings: CDR, weights: str | Path | None) -> nn.Module:
    """The loss that `cdr.loss` names, of two images in the range of the normalised input; random `weights` if None."""
    if settings.loss == "l1":
        return nn.L1Loss()
    if settings.loss == "l2":
        return nn.MSELoss()
    network = loss_network(settings.network, taps=settings.taps, weights=weights)
    return PerceptualLoss(network, settings.stage_weights)


def compile_networks(model: CAMClassifier, decoder: nn.Module | None, reconstruction_loss: nn.Module | None) -> None:
    """Let the networks of a step run through torch.compile."""
    model.forward_features = torch.compile(model.forward_features)  # what the step calls in place of `forward`
    if decoder:
        decoder.compile()
    if isinstance(reconstruction_loss, PerceptualLoss):
        reconstruction_loss.network.compile()
