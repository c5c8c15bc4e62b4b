"""Co-training of two segmentation networks on noisy labels: BECO (Rong et al., CVPR 2023, section 3).

Both networks learn the labels of confident pixels; on the others, each learns what the other predicts. Regions of
one photo are pasted onto another, and the boundaries of these regions, which are known exactly, weigh more.

Maps of a batch: image (B, 3, H, W), labels int64 (B, H, W), confident and regions bool (B, H, W). A pixel that is
confident with the label 255 takes no part.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ssc.constants import IGNORE
from ssc.losses import erode
from ssc.models.deeplab import DeepLabV2, evaluating, mean_logits
from ssc.training.colours import jitter
from ssc.workflow.settings import Cotraining


def cotraining_losses(
    networks: Sequence[DeepLabV2],
    image: torch.Tensor,
    labels: torch.Tensor,
    confident: torch.Tensor,
    *,
    online: bool,
    settings: Cotraining,
    rngs: Sequence[np.random.Generator],
    colours: bool = False,
    precision: str = "fp32",
    processes: int = 1,
) -> dict[str, torch.Tensor]:
    """The terms of a step's loss, summed over both networks; their sum is the loss.

    In the warm-up, regions are classes of the pseudo-labels and carry these, and no boundary counts more. After it
    they are classes of the confident online labels, and a mixed image carries online labels on both sides of the
    boundary; other images keep their pseudo-labels.

    Args:
        networks: the two networks, in training mode.
        image: ImageNet-normalised batch before the mixing.
        labels, confident: pseudo-labels and confidence masks.
        online: the warm-up is over.
        settings: the section `segmentation.cotraining`.
        rngs: source of the random choices, one for each image.
        colours: change the colours of the mixed images, see `ssc.training.colours`.
        precision: see the config.
        processes: those that share the batch; the means over the photos here are divided by it.

    Returns:
        `cross_entropy` of the confident pixels, and `mutual`, of the others with the other network's prediction.
    """
    if online:
        source = online_labels(
            networks, image, labels, confident, threshold=settings.online_confidence, precision=precision
        )
        regions = draw_regions(mask_labels(*source), probability=settings.mix_probability, rngs=rngs)
        edges = boundaries(regions, settings.boundary_size)
    else:
        source = labels, confident
        regions = draw_regions(labels, probability=settings.mix_probability, rngs=rngs)
        edges = torch.zeros_like(regions)
    mixed = regions.flatten(1).any(dim=1)[:, None, None]
    image = paste(image, regions)
    if colours:
        image = jitter(image, rngs)
    labels, confident = (
        torch.where(mixed, paste(new, regions), old) for new, old in zip(source, (labels, confident), strict=True)
    )
    logits = [mean_logits([network], image, size=image.shape[-2:], precision=precision) for network in networks]
    weights = 1 + settings.boundary_weight * edges
    terms = [network_losses(own, other, labels, confident, weights) for own, other in (logits, logits[::-1])]
    cross_entropy, mutual = (sum(term) / processes for term in zip(*terms, strict=True))
    return {"cross_entropy": cross_entropy, "mutual": mutual}


def network_losses(
    own: torch.Tensor, other: torch.Tensor, labels: torch.Tensor, confident: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two losses of one network, each a mean over all pixels of the batch.

    Args:
        own, other: logits (B, K, H, W) of the network and of the other one, which gets no gradient from here.
        labels, confident: the targets, and where they count.
        weights: (B, H, W), weights of the confident pixels.

    Returns:
        Weighted cross entropy of the confident pixels with their labels, 0 where these are 255, and cross entropy of
        the unconfident ones with the most probable class of `other`.
    """
    # Every pixel has one target, so that one cross entropy serves both terms.
    targets = torch.where(confident, labels, other.argmax(dim=1))
    loss = F.cross_entropy(own, targets, ignore_index=IGNORE, reduction="none")
    return (loss * weights * confident).mean(), (loss * ~confident).mean()


@torch.no_grad()
def online_labels(
    networks: Sequence[DeepLabV2],
    image: torch.Tensor,
    labels: torch.Tensor,
    confident: torch.Tensor,
    *,
    threshold: float,
    precision: str = "fp32",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and confidence of what both networks say together, in evaluation mode.

    Args:
        networks: the two networks; each layer is in the same mode afterwards.
        image: ImageNet-normalised batch.
        labels, confident: the pseudo-labels and confidence masks; where they say that a pixel takes no part (padding
            outside of the photo), so does the result.
        threshold: a pixel is confident where the softmax of the mean logits exceeds this.

    Returns:
        Labels and confidence of the batch.
    """
    with evaluating(networks):
        logits = mean_logits(networks, image, size=image.shape[-2:], precision=precision)
    probability, best = logits.softmax(dim=1).max(dim=1)
    outside = confident & (labels == IGNORE)
    return best.masked_fill(outside, IGNORE), (probability > threshold) | outside


def draw_regions(labels: torch.Tensor, *, probability: float, rngs: Sequence[np.random.Generator]) -> torch.Tensor:
    """Where each image takes its partner's pixels: half of the partner's classes, drawn with a probability per image.

    Args:
        labels: label maps (B, H, W); classes are those but background and 255.
        probability: of an image to be mixed.
        rngs: source of the random choices, one for each image, so that these do not depend on the rest of the batch.

    Returns:
        bool (B, H, W): pixels of the partner's drawn classes, half of its classes rounded up. Nothing where the coin
        falls the other way, the partner shows no class, or there is none (last image of an odd batch).
    """
    regions = torch.zeros_like(labels, dtype=torch.bool)
    for own, (other, rng) in enumerate(zip(_partners(len(labels)), rngs, strict=True)):
        if rng.random() < probability and own != other:
            present = labels[other].unique().cpu().numpy()
            present = present[(present != 0) & (present != IGNORE)]
            drawn = rng.permutation(present)[: (len(present) + 1) // 2]
            regions[own] = torch.isin(labels[other], torch.from_numpy(drawn).to(labels.device))
    return regions


def paste(maps: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """Maps (B, ..., H, W), each with its partner's values in its region (B, H, W); i and i + B/2 are partners."""
    places = regions.view(len(maps), *[1] * (maps.ndim - 3), *maps.shape[-2:])
    return torch.where(places, maps[_partners(len(maps))], maps)


def boundaries(regions: torch.Tensor, size: int) -> torch.Tensor:
    """Dilation minus erosion of regions (B, H, W) with a square of 2 * size + 1 pixels; borders of the map are none."""
    side = 2 * size + 1
    return ~erode(~regions, side) & ~erode(regions, side)


def mask_labels(labels: torch.Tensor, confident: torch.Tensor) -> torch.Tensor:
    """Labels with 255 for the pixels that are not confident."""
    return labels.masked_fill(~confident, IGNORE)


def _partners(count: int) -> list[int]:
    half = count // 2
    return [*range(half, 2 * half), *range(half), *range(2 * half, count)]
