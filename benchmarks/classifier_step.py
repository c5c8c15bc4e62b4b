"""A whole training step of the classifier: forward, losses, backward, optimisers. ResNet-50, VGG-19, random weights.

    python -m benchmarks.classifier_step

The reference is the step as it is commonly written: the loss network is rebuilt from torchvision's in each step, its
weights read from a file; contiguous layout; superpixels as one-hot rows; nothing computed again; plain optimiser loops.
Ours is `ssc.losses.classifier_losses` with the config's `memory: fast` and `lean`, in fp32 and bf16.

Bytes saved for backward are those that autograd holds. So that none are merely hidden, a fresh process per
formulation and batch size takes the same step, and its peak memory is measured: the difference between two batch sizes
is what an image really costs.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import vgg19

from benchmarks.harness import Figure, Row, in_fresh_process, interleaved, peak_memory, run
from benchmarks.released_step import released_classifier, released_decoder, released_losses
from benchmarks.scenes import batch_of_regions, present_classes
from ssc.losses import ClassifierStep, PerceptualLoss, classifier_losses
from ssc.models import CAMClassifier, ReconstructionNet
from ssc.models.perceptual import VGG19Features
from ssc.models.size import saved_bytes
from ssc.runtime.device import autocast
from ssc.training.classifier import build_reconstruction_loss, classifier_arguments, decoder_arguments
from ssc.workflow.settings import Classifier

CLASSES, PRESENT = 20, 2
TIMES = 0.65  # of the reference's time
SAVED_GB = {"fp32": 0.85, "bf16": 0.45}  # per image
FORMULATIONS = {
    "reference": ("reference", "fp32"),
    "fast fp32": ("fast", "fp32"),
    "lean fp32": ("lean", "fp32"),
    "fast bf16": ("fast", "bf16"),
    "lean bf16": ("lean", "bf16"),
}

Losses = Callable[[], dict[str, torch.Tensor]]


def build(
    formulation: str, precision: str, settings: Classifier, batch: int, weights: Path | None
) -> tuple[Losses, Callable, list]:
    """A formulation's step on a batch of its own.

    Args:
        formulation: `reference`, or ours by the config's `memory`.
        precision: `fp32` or `bf16`.
        settings: the section `classifier`.
        batch: images per step.
        weights: file of `save_loss_network`, which the reference reads in each step; None, for ours
            only, for random ones.

    Returns:
        The function that computes the losses; the one that takes a whole step and returns the losses' values; and the
        tensors that are there between steps, which are not saved for backward.
    """
    torch.manual_seed(0)
    reference = formulation == "reference"
    layout = torch.contiguous_format if reference else torch.channels_last
    size = settings.crop
    image = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
    labels, regions = present_classes(batch, CLASSES, PRESENT), batch_of_regions(size, batch)
    model = CAMClassifier(**classifier_arguments(settings, CLASSES)).eval()
    decoder = ReconstructionNet(**decoder_arguments(model, settings.cdr, size))
    if reference:
        model = released_classifier(model, settings)
        decoder, reconstruction_loss = released_decoder(decoder), None
    else:
        decoder.recompute = formulation == "lean"
        reconstruction_loss = build_reconstruction_loss(settings.cdr, weights).to(memory_format=layout)
    model, decoder = (module.to(memory_format=layout).train() for module in (model, decoder))
    optimisers = build_optimisers(model, decoder, plain=reference)

    def losses() -> dict[str, torch.Tensor]:
        own_loss = rebuilt_loss(settings, weights) if reference else reconstruction_loss
        with autocast(torch.device("cpu"), precision):
            step = ClassifierStep(image, labels, regions, *model.forward_features(image), decoder, own_loss)
            if reference:
                return released_losses(step, settings)
            return classifier_losses(step, settings, epoch=settings.asm.start_epoch)

    modules = [module for module in (model, decoder, reconstruction_loss) if module]
    constant = [image, *(tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))]
    return losses, partial(take_step, losses, optimisers), constant


def take_step(losses: Losses, optimisers: list[torch.optim.Optimizer]) -> dict[str, float]:
    """Forward, backward and the optimisers' steps; the losses' values."""
    terms = losses()
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    sum(terms.values()).backward()
    for optimiser in optimisers:
        optimiser.step()
    return {name: term.item() for name, term in terms.items()}


def build_optimisers(model: CAMClassifier, decoder: nn.Module, *, plain: bool) -> list[torch.optim.Optimizer]:
    """SGD for the classifier and Adam for the decoder: loops over parameters, or fused as in our training."""
    how = {"foreach": False} if plain else {"fused": True}
    groups = [
        {"params": model.backbone.parameters(), "lr": 0.1},
        {"params": model.classifier.parameters(), "lr": 1.0},
    ]
    return [
        torch.optim.SGD(groups, momentum=1e-4, weight_decay=1e-4, **how),
        torch.optim.Adam(decoder.parameters(), lr=5e-4, betas=(0.5, 0.999), **how),
    ]


def save_loss_network(path: Path) -> None:
    """Write VGG-19's weights, random ones, as they are distributed: with the fully connected layers."""
    torch.manual_seed(1)
    save_file(vgg19(weights=None).state_dict(), path)


def rebuilt_loss(settings: Classifier, weights: Path) -> PerceptualLoss:
    """The perceptual loss on a network made anew: torchvision's VGG-19, weights from a file, its first part."""
    network = vgg19(weights=None, init_weights=False)
    network.load_state_dict(load_file(weights))
    with torch.device("meta"):  # its own layers are not used, and cost nothing
        features = VGG19Features(taps=settings.cdr.taps)
    features.features = network.features[: len(features.features)]
    return PerceptualLoss(features, settings.cdr.stage_weights)


def peak_of_steps(formulation: str, precision: str, settings: Classifier, batch: int, weights: Path) -> int:
    """Peak resident bytes of this process over two steps; the second finds gradients and optimiser states in place."""
    _, step, _ = build(formulation, precision, settings, batch, weights)
    peak, _ = peak_memory(lambda: [step() for _ in range(2)])
    return peak


def measure(*, quick: bool) -> Row:
    """Training step of the classifier: the reference rebuilt in each step, ours lean and fast, fp32 and bf16."""
    settings = Classifier(crop=64, backbone="resnet18") if quick else Classifier()
    batches, rounds = (1, 2), 1 if quick else 3
    batch = batches[-1]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "vgg19.safetensors"
        save_loss_network(weights)
        steps, saved = {}, {}
        for name, (formulation, precision) in FORMULATIONS.items():
            losses, steps[name], constant = build(formulation, precision, settings, batch, weights)
            saved[name] = saved_bytes(losses, leave_out=constant)[0] / batch / 1e9
        first = {name: step() for name, step in steps.items()}
        seconds, _ = interleaved(steps, rounds=rounds)
        del steps, losses, constant
        peaks = {
            name: [in_fresh_process(peak_of_steps, *how, settings, size, weights) / 1e9 for size in batches]
            for name, how in FORMULATIONS.items()
        }
    figures = []
    for name in FORMULATIONS:
        if name != "reference":
            parts = {"reference": seconds["reference"], "ours": seconds[name]}
            ratio = seconds[name] / seconds["reference"]
            figures.append(Figure(f"{name}: share of the time", ratio, at_most=TIMES, parts=parts, parts_unit="s"))
    for name, (formulation, precision) in FORMULATIONS.items():
        limit = SAVED_GB[precision] if formulation != "reference" else None
        figures.append(Figure(f"{name}: saved for backward", saved[name], "GB per image", at_most=limit))
    for name, peak in peaks.items():
        parts = {f"batch {size}": value for size, value in zip(batches, peak, strict=True)}
        further = (peak[-1] - peak[0]) / (batches[-1] - batches[0])
        figures.append(Figure(f"{name}: peak memory", further, "GB per further image", parts=parts, parts_unit="GB"))
    for name in ("fast fp32", "lean fp32"):
        apart = max(abs(first[name][term] / value - 1) for term, value in first["reference"].items())
        figures.append(Figure(f"{name}: losses of the first step, largest relative difference", apart))
    return Row(
        "classifier_step",
        f"one step of the full method, {settings.backbone}, VGG-19, {settings.crop} px, batch {batch}, "
        f"{CLASSES} classes of which {PRESENT} present: common formulation, ours",
        figures,
    )


if __name__ == "__main__":
    run(measure)
