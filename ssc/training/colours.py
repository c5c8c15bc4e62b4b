"""Random colours of a batch of training photos, drawn as the released code draws them after mixing [R].

With probability 0.8 brightness and contrast, and then hue, saturation and value; with 0.2 grey; with 0.5 a blur.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ssc.constants import MEAN, STD

_BRIGHTNESS, _CONTRAST = 0.2, 0.2  # at most, of the whole range, and as a factor beside 1
_HUE, _SATURATION, _VALUE = 20 / 180, 30 / 255, 20 / 255  # at most
_GREY = (0.114, 0.587, 0.299)  # the release's photos reach its colour functions with red and blue swapped
_BLURS = {3: 0.8, 5: 1.1}  # standard deviation by side of the window
_FIVE = 2 / 3  # probability of the larger window


def jitter(image: torch.Tensor, rngs: Sequence[np.random.Generator]) -> torch.Tensor:
    """Normalised photos (B, 3, H, W) in other colours; `rngs` are the sources of the random choices, one per photo."""
    mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    changed = [_jitter((own * std + mean).clamp(0, 1), rng) for own, rng in zip(image, rngs, strict=True)]
    return (torch.stack(changed) - mean) / std


def _jitter(photo: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A photo (3, H, W) in 0..1. All numbers are drawn, whichever are used."""
    shifted, grey, blurred = rng.random(3) < (0.8, 0.2, 0.5)
    brightness, contrast, hue, saturation, value = rng.uniform(-1, 1, 5)
    side = 5 if rng.random() < _FIVE else 3
    if shifted:
        photo = (photo * (1 + _CONTRAST * contrast) + _BRIGHTNESS * brightness).clamp(0, 1)
        photo = shift_hsv(photo, hue=_HUE * hue, saturation=_SATURATION * saturation, value=_VALUE * value)
    if grey:
        photo = (photo * photo.new_tensor(_GREY).view(3, 1, 1)).sum(dim=0, keepdim=True).expand(3, -1, -1)
    return blur(photo, side) if blurred else photo


def shift_hsv(photo: torch.Tensor, *, hue: float, saturation: float, value: float) -> torch.Tensor:
    """Colours (3, H, W) in 0..1 with hue (a turn is 1), saturation and value changed by so much, the last two cut."""
    largest, smallest = photo.amax(dim=0), photo.amin(dim=0)
    spread = largest - smallest
    red, green, blue = photo
    divisor = torch.where(spread > 0, spread, 1)
    sixth = torch.where(
        largest == red,
        (green - blue) / divisor,
        torch.where(largest == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    new_saturation = (spread / torch.where(largest > 0, largest, 1) + saturation).clamp(0, 1)
    new_value = (largest + value).clamp(0, 1)
    # Each channel is the value less what the saturation takes from it, by its distance to the hue.
    distance = torch.stack([(sixth + 6 * hue + offset) % 6 for offset in (5, 3, 1)])
    return new_value * (1 - new_saturation * torch.minimum(distance, 4 - distance).clamp(0, 1))


def blur(photo: torch.Tensor, side: int) -> torch.Tensor:
    """Gaussian blur of a photo (3, H, W) in a window of `side` pixels; the border is mirrored."""
    steps = torch.arange(side, dtype=photo.dtype, device=photo.device) - side // 2
    weights = torch.exp(-((steps / _BLURS[side]) ** 2) / 2)
    weights = weights / weights.sum()
    padded = F.pad(photo[:, None], (side // 2,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))[:, 0]
