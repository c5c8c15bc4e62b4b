"""A training step of the classifier as the authors' code forms it [R]: what its memory and time are compared with."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from ssc.constants import EPSILON
from ssc.losses import ClassifierStep, PerceptualLoss, classification_term, decoder_image, erode
from ssc.models import CAMClassifier, ReconstructionNet
from ssc.models.reconstruction import ConvBlock, LayerNorm, decoder_input
from ssc.workflow.settings import Classifier


def released_losses(step: ClassifierStep, settings: Classifier) -> dict[str, torch.Tensor]:
    """`ssc.losses.classifier_losses` as the released code forms them [R], all at full weight 1.

    The loss network, which that code builds anew in each step, costs time but no saved bytes, since it is frozen.

    Args:
        step: of the networks of `released_classifier` and `released_decoder`.
        settings: the section `classifier`.
    """
    losses = {"classification": classification_term(step)}
    cdr, asm = settings.cdr, settings.asm
    if cdr.enabled:
        source = decoder_input(step.early, step.features, source=cdr.source, rectify=cdr.rectify)
        reconstruction = decoder_image(step.decoder(source), cdr.range)
        losses["reconstruction"] = _reconstruction_loss(step.reconstruction_loss, reconstruction, step.image)
    if asm.enabled:
        options = asm.model_dump(include={"threshold", "erosion", "reliable"})
        losses["alignment"] = dense_alignment_loss(step.features, step.superpixels, step.labels, **options)
    return losses


def released_classifier(model: CAMClassifier, settings: Classifier) -> CAMClassifier:
    """A copy with DRS as the released code has it, and a graph of the stages that are not trained, cut at their end."""
    released = copy.deepcopy(model)
    released.backbone.requires_grad_(True)
    if settings.drs.enabled:
        released.drs = ReleasedDRS(settings.drs.delta)
    if settings.stop_gradient_after:
        *_, last = released.backbone.stages()[settings.stop_gradient_after].children()
        last.register_forward_hook(lambda block, inputs, features: features.detach())  # after DRS, which came before
    return released


def _reconstruction_loss(loss: nn.Module, reconstruction: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """`ssc.losses.PerceptualLoss` with all feature maps of the batch in one graph; other losses as they are."""
    if not isinstance(loss, PerceptualLoss):
        return loss(reconstruction, image)
    with torch.no_grad():
        targets = loss.network(image)
    pairs = zip(loss.weights, loss.network(reconstruction), targets, strict=True)
    return sum(weight * F.l1_loss(own, target) for weight, own, target in pairs)


def released_decoder(decoder: ReconstructionNet) -> ReconstructionNet:
    """A copy that pads in a step of its own, as the released blocks do, and normalises by the plain formulas.

    A padded copy of each input is saved, and the results of all arithmetic.
    """
    apart = copy.deepcopy(decoder)
    for block in apart.modules():
        if isinstance(block, ConvBlock):
            block.norm = _plain_norm(block.norm)
            if block.conv.padding_mode == "zeros":
                block.conv.padding_mode = "constant"
    apart.upsample = nn.Sequential(
        *(
            nn.Sequential(block.up, nn.InstanceNorm2d(block.up.out_channels), nn.ReLU(), block.conv)
            for block in apart.upsample
        )
    )
    return apart


class _PlainLayerNorm(LayerNorm):
    """`LayerNorm` as the graph of its formula."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        return (x - mean) / (std + EPSILON) * self.gamma.view(-1, 1, 1) + self.beta.view(-1, 1, 1)


def _plain_norm(norm: LayerNorm) -> _PlainLayerNorm:
    plain = _PlainLayerNorm(len(norm.gamma))
    plain.load_state_dict(norm.state_dict())
    return plain


class ReleasedDRS(nn.Module):
    """DRS with a bound per pixel, not per channel [R]; same values as `DiscriminativeRegionSuppression`."""

    def __init__(self, delta: float):
        super().__init__()
        self.delta = delta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w); same shape."""
        return torch.minimum(x, x.amax(dim=(2, 3), keepdim=True).expand_as(x) * self.delta)


def dense_alignment_loss(
    features: torch.Tensor,
    superpixels: torch.Tensor,
    labels: torch.Tensor,
    *,
    threshold: float = 0.3,
    erosion: int = 8,
    reliable: bool = True,
) -> torch.Tensor:
    """`ssc.losses.alignment_loss` as the released code forms it [R]; same arguments and value.

    Superpixels are one-hot rows (B, S, N) of the N half-resolution pixels; means are products with them for all
    classes, present or not, and are detached only at the end.
    """
    size = tuple(side // 2 for side in superpixels.shape[-2:])
    regions = F.interpolate(superpixels[:, None].float(), size=size, mode="nearest").long().flatten(1)
    one_hot = F.one_hot(regions).transpose(1, 2).float()
    share = one_hot / one_hot.sum(dim=2, keepdim=True).clamp(min=1)
    maps = F.interpolate(features.float(), size=size, mode="bilinear", align_corners=False).flatten(2)
    sums = maps @ one_hot.transpose(1, 2)
    means = (share[:, None].repeat(1, maps.shape[1], 1, 1) * sums[..., None]).sum(dim=2)
    activation = _normalise(maps)[labels == 1]
    target = _normalise(means)[labels == 1].detach()
    if reliable:
        seen = activation.detach()
        mask = erode((seen > threshold).float().view(-1, *size), erosion).flatten(1)
        target = torch.maximum(target, seen * mask)
    return F.mse_loss(activation, target)


def _normalise(maps: torch.Tensor) -> torch.Tensor:
    """relu(f) / (max relu(f) + 1e-5) of maps (B, C, N)."""
    maps = maps.clamp(min=0)
    return maps / (maps.amax(dim=2, keepdim=True) + EPSILON)
