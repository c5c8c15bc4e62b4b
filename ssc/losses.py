"""Losses: reconstruction (CDR) and alignment (ASM) of the classifier, and the table of its terms; masked cross entropy.

Where several processes train, each computes its share of the whole batch's loss: what a loss divides by is then counted
over all processes and given to it (`total`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from ssc.constants import EPSILON, IGNORE, MEAN, STD, Registry
from ssc.models.reconstruction import decoder_input

_CHUNK_PIXELS = 512 * 512  # that go through the loss network together


class PerceptualLoss(nn.Module):
    """Weighted mean absolute difference of feature maps of a loss network (paper eq. 5 and 6).

    L = sum_k w_k * mean |phi_k(reconstruction) - phi_k(image)|; the image's features carry no gradient.

    The network is frozen, so that backward needs nothing but the gradient with respect to the reconstruction. The
    forward pass computes it, one image of the paper's size at a time, and keeps no feature map.

    Args:
        network: frozen here; maps an image (B, 3, H, W) to a list of feature maps.
        weights: w_k, one per feature map.
    """

    def __init__(self, network: nn.Module, weights: Sequence[float] = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)):
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.weights = tuple(weights)

    def train(self, mode: bool = True) -> "PerceptualLoss":
        """The loss network stays in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, reconstruction: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Two images (B, 3, H, W) in the value range that the loss network expects; a scalar, differentiable once
        with respect to the reconstruction."""
        return _Perceptual.apply(reconstruction, image, self.network, self.weights)


class _Perceptual(torch.autograd.Function):
    """The perceptual loss, whose gradient exists before backward begins."""

    @staticmethod
    def forward(ctx, reconstruction, image, network, weights):
        differentiable = ctx.needs_input_grad[0]
        gradient = torch.empty_like(reconstruction)
        loss = reconstruction.new_zeros((), dtype=torch.promote_types(reconstruction.dtype, torch.float32))
        chunk = max(1, _CHUNK_PIXELS // image[0, 0].numel())
        for part in torch.arange(len(image)).split(chunk):
            part = slice(int(part[0]), int(part[-1]) + 1)
            own_image = reconstruction[part].detach().requires_grad_(differentiable)
            targets = network(image[part])
            # What this inner graph saves is gone before backward: hooks that offload or count must not see it.
            with torch.set_grad_enabled(differentiable), saved_tensors_hooks(_as_it_is, _as_it_is):
                features = network(own_image)
            gradients = []
            for weight, own, target in zip(weights, features, targets, strict=True):
                difference = own.detach().to(loss.dtype) - target.to(loss.dtype)
                share = weight * len(own_image) / len(image)
                loss += share * difference.abs().mean()
                gradients.append(difference.sign_().mul_(share / difference.numel()).to(own.dtype))
            if differentiable:
                torch.autograd.backward(features, gradients)
                gradient[part] = own_image.grad
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, factor):
        (gradient,) = ctx.saved_tensors
        return (factor * gradient).to(gradient.dtype), None, None, None


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def normalise_cam(maps: torch.Tensor, *, detach_maximum: bool = False) -> torch.Tensor:
    """relu(f) / (max over h, w of relu(f) + 1e-5), per leading index (paper eq. 1); values in 0..1.

    With `detach_maximum` the maximum carries no gradient.
    """
    maps = maps.relu()
    maximum = maps.amax(dim=(-2, -1), keepdim=True)
    return maps / ((maximum.detach() if detach_maximum else maximum) + EPSILON)


def erode(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Binary erosion of masks (N, H, W) with a square of `size` pixels anchored at index size // 2.

    Pixels outside the map count as set.
    """
    if size <= 1:
        return mask
    before, after = size // 2, size - 1 - size // 2
    inverse = F.pad(1 - mask.float(), (before, after, before, after))
    columns = F.max_pool2d(inverse[:, None], (size, 1), stride=1)
    return (F.max_pool2d(columns, (1, size), stride=1)[:, 0] == 0).to(mask.dtype)


def region_means(maps: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """Replace every value by the mean over its region.

    Args:
        maps: (N, H, W).
        regions: (N, H, W) int64, labels >= 0 counted separately in each of the N maps.

    Returns:
        (N, H, W).
    """
    count = int(regions.max()) + 1
    flat, index = maps.flatten(1), regions.flatten(1)
    sums = flat.new_zeros(len(flat), count).scatter_add_(1, index, flat)
    sizes = flat.new_zeros(len(flat), count).scatter_add_(1, index, torch.ones_like(flat))
    return (sums / sizes.clamp(min=1)).gather(1, index).view_as(maps)


def alignment_loss(
    features: torch.Tensor,
    superpixels: torch.Tensor,
    labels: torch.Tensor,
    threshold: float = 0.3,
    erosion: int = 8,
    reliable: bool = True,
    *,
    detach_maximum: bool = False,
    total: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Activation self-modulation: pull each CAM towards its mean over superpixels (paper eq. 7 to 9).

    At half the superpixels' resolution, for present classes only: A = norm(relu(f)), R = norm(relu(region mean)),
    M = erosion of (A > threshold), target = max(R, A * M) without gradient, loss = mean (A - target)^2.

    Args:
        features: class-aware maps f (B, C, h, w), before the ReLU.
        superpixels: integer labels (B, H, W).
        labels: (B, C), 1 where the class is present.
        threshold: activation above which a pixel may be reliable.
        erosion: side of the square that erodes the reliable mask, in half-resolution pixels.
        reliable: reliable activation selection (RAS); without it the target is R.
        detach_maximum: no gradient through the maximum in the normalisation of A.
        total: number of present classes that the mean is over: of the whole batch, of which this may be a part; None
            counts those of `labels`.

    Returns:
        Scalar; 0 (with a gradient of 0) where no class is present.
    """
    image, channel = labels.nonzero(as_tuple=True)
    total = labels.count_nonzero() if total is None else total
    if len(image) == 0:
        return features.sum() * 0.0
    size = tuple(side // 2 for side in superpixels.shape[-2:])
    maps = features[image, channel].float()
    maps = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    activation = normalise_cam(maps, detach_maximum=detach_maximum)
    with torch.no_grad():
        rows, columns = (
            torch.arange(half, device=superpixels.device) * side // half
            for half, side in zip(size, superpixels.shape[-2:], strict=True)
        )
        regions = superpixels[:, rows[:, None], columns].long()
        target = normalise_cam(region_means(maps, regions[image]))
        if reliable:
            mask = erode((activation > threshold).float(), erosion)
            target = torch.maximum(target, activation * mask)
    return F.mse_loss(activation, target, reduction="sum") / (total * size[0] * size[1])


def masked_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, *, total: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Mean cross entropy of logits (B, K, H, W) over the pixels whose target (B, H, W) is not 255; 0 where all are.

    `total` is the number of pixels that the mean is over, None for those of `target`.
    """
    loss = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    total = (target != IGNORE).sum() if total is None else total
    return loss / torch.as_tensor(total).clamp(min=1)


def decoder_image(reconstruction: torch.Tensor, range: str = "normalised") -> torch.Tensor:
    """What a reconstruction loss sees of the decoder's output (B, 3, H, W) in -1..1, beside the normalised photo.

    `normalised`: its values read as colours 0..1 and brought to the photo's ImageNet-normalised range; `tanh`: as they
    are [R], which is another objective: a photo's range is about -2..2.6.
    """
    if range == "tanh":
        return reconstruction
    mean, std = _photo_statistics(reconstruction)
    return (decoder_colours(reconstruction, range) - mean) / std


def decoder_colours(reconstruction: torch.Tensor, range: str = "normalised") -> torch.Tensor:
    """The picture, in 0..1, that the decoder's output (..., 3, H, W) stands for, see `decoder_image`.

    Raises:
        ValueError: an unknown range.
    """
    if range == "normalised":
        return (reconstruction + 1) / 2
    if range == "tanh":  # a loss of 0 would make it the normalised photo
        mean, std = _photo_statistics(reconstruction)
        return (reconstruction * std + mean).clamp(0, 1)
    raise ValueError(f"range is {range!r}, not normalised or tanh")


def _photo_statistics(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (3, 1, 1) that normalise a photo."""
    return like.new_tensor(MEAN).view(3, 1, 1), like.new_tensor(STD).view(3, 1, 1)


class ClassifierStep(NamedTuple):
    """What a term of the classifier's loss may read of a training step.

    Attributes:
        image: (B, 3, S, S), ImageNet-normalised.
        labels: (B, C), 1 where the class is present.
        superpixels: (B, S, S); None where no term needs them.
        early: features that enter the last stage (B, D, h', w').
        features: class-aware maps f (B, C, h, w), before the ReLU.
        decoder: the reconstruction net; None without CDR.
        reconstruction_loss: loss of two images; None without CDR.
        processes: those that share the batch; a mean over the images here is divided by it.
        present: number of present classes in the whole batch, over all processes.
    """

    image: torch.Tensor
    labels: torch.Tensor
    superpixels: torch.Tensor | None
    early: torch.Tensor
    features: torch.Tensor
    decoder: nn.Module | None = None
    reconstruction_loss: nn.Module | None = None
    processes: int = 1
    present: torch.Tensor | int | None = None


def classification_term(step: ClassifierStep) -> torch.Tensor:
    """Multi-label soft margin loss of the spatial mean of f (paper eq. 2)."""
    loss = F.multilabel_soft_margin_loss(step.features.float().mean(dim=(2, 3)), step.labels)
    return loss / step.processes


def reconstruction_term(step: ClassifierStep, settings) -> torch.Tensor:
    """CDR: the image against what the decoder makes of the features (paper section III-B)."""
    source = decoder_input(step.early, step.features, source=settings.source, rectify=settings.rectify)
    painted = decoder_image(step.decoder(source), settings.range)
    return step.reconstruction_loss(painted, step.image) / step.processes


def alignment_term(step: ClassifierStep, settings) -> torch.Tensor:
    """ASM (paper section III-C)."""
    return alignment_loss(
        step.features,
        step.superpixels,
        step.labels,
        threshold=settings.threshold,
        erosion=settings.erosion,
        reliable=settings.reliable,
        detach_maximum=settings.detach_maximum,
        total=step.present,
    )


class Term(NamedTuple):
    """A term of the classifier's loss: its name in tables of losses, and its function of a step and of its settings."""

    name: str
    function: Callable[..., torch.Tensor]


# By key of the section `classifier`, whose settings say whether, from which epoch on and with which weight it counts.
TERMS: Registry[str, Term] = {
    "cdr": Term("reconstruction", reconstruction_term),
    "asm": Term("alignment", alignment_term),
}


def classifier_losses(step: ClassifierStep, settings, *, epoch: int) -> dict[str, torch.Tensor]:
    """The terms of a step's loss, weighted, so that their sum is the loss (paper eq. 10).

    Args:
        step: what the network made of a batch.
        settings: the section `classifier` of the configuration.
        epoch: counted from 0; a term begins at its `start_epoch`.
    """
    losses = {"classification": classification_term(step)}
    for key, term in TERMS.items():
        own = getattr(settings, key)
        if own.enabled and epoch >= own.start_epoch:
            losses[term.name] = own.weight * ramp(epoch, own.start_epoch, own.ramp_epochs) * term.function(step, own)
    return losses


def ramp(epoch: int, start: int, length: int) -> float:
    """Factor of a loss that sets in at epoch `start` and has its full weight `length` epochs later; in (0, 1]."""
    return min(1.0, (epoch - start + 1) / (length + 1))
