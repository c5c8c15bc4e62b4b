"""Alignment loss (ASM) of `ssc.losses` against one-hot superpixels times all classes, forward and backward.

python -m benchmarks.alignment_loss
"""

from collections.abc import Callable

import torch

from benchmarks.harness import Figure, Row, interleaved, run
from benchmarks.released_step import dense_alignment_loss
from benchmarks.scenes import batch_of_regions, present_classes
from ssc.losses import alignment_loss
from ssc.models.size import saved_bytes

CLASSES = 20
PRESENT = 2  # as in most photos of VOC


def inputs(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (B, C, size / 16, size / 16) that vary smoothly, superpixels (B, size, size), labels (B, C)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(batch, CLASSES, size // 64, size // 64, generator=generator)
    features = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    return features, batch_of_regions(size, batch), present_classes(batch, CLASSES, PRESENT)


def value_and_gradient(
    loss: Callable, features: torch.Tensor, superpixels: torch.Tensor, labels: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """A loss and its gradient with respect to the features."""
    features = features.detach().requires_grad_()
    value = loss(features, superpixels, labels)
    value.backward()
    return value.item(), features.grad


def measure(*, quick: bool) -> Row:
    """Alignment loss: scatter-reduced means of present classes against one-hot superpixels and all classes."""
    batch, size = (2, 256) if quick else (6, 512)
    features, superpixels, labels = inputs(batch, size)
    losses = {"dense": dense_alignment_loss, "ours": alignment_loss}
    functions = {
        name: lambda loss=loss: value_and_gradient(loss, features, superpixels, labels) for name, loss in losses.items()
    }
    functions["ours"]()
    seconds, results = interleaved(functions, rounds=3, calls={"ours": 5})
    (dense, dense_gradient), (own, gradient) = results["dense"], results["ours"]
    largest, difference = (tensor.abs().max().item() for tensor in (dense_gradient, dense_gradient - gradient))

    leaf = features.clone().requires_grad_()
    megabytes = {
        name: saved_bytes(lambda loss=loss: loss(leaf, superpixels, labels), leave_out=[leaf])[0] / 1e6
        for name, loss in losses.items()
    }
    return Row(
        "alignment_loss",
        f"forward and backward, batch {batch}, {CLASSES} classes of which {PRESENT} present in each image, {size} px: "
        "one-hot superpixels and all classes, ours",
        [
            Figure("times faster", seconds["dense"] / seconds["ours"], at_least=40, parts=seconds, parts_unit="s"),
            Figure(
                "times fewer bytes saved for backward", megabytes["dense"] / megabytes["ours"], at_least=100,
                parts=megabytes, parts_unit="MB",
            ),
            Figure("difference of the losses", abs(dense - own), at_most=1e-6, parts={"dense": dense, "ours": own}),
            Figure("largest difference of gradients", difference, at_most=1e-6, parts={"largest gradient": largest}),
            Figure("the same, over the largest gradient", difference / largest),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    run(measure)
