"""Random colours against the standard library's colour model, pixel by pixel."""

import colorsys

import numpy as np
import pytest
import torch

from ssc.data.transforms import normalise
from ssc.training.colours import blur, jitter, shift_hsv


def picture(seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)
    pixels[0, :4] = [[0, 0, 0], [255, 255, 255], [90, 90, 90], [255, 0, 0]]  # without hue, or pure
    return pixels


@pytest.mark.parametrize(
    ("hue", "saturation", "value"), [(0, 0, 0), (0.1, 0.1, -0.05), (-0.11, -0.12, 0.08), (0.5, 0.3, 0.2)]
)
def test_hue_saturation_and_value_are_shifted(hue, saturation, value):
    photo = torch.from_numpy(picture() / 255).permute(2, 0, 1)
    found = shift_hsv(photo, hue=hue, saturation=saturation, value=value)
    for y, x in np.ndindex(6, 7):
        h, s, v = colorsys.rgb_to_hsv(*photo[:, y, x].tolist())
        s, v = (min(max(own, 0), 1) for own in (s + saturation, v + value))
        np.testing.assert_allclose(found[:, y, x], colorsys.hsv_to_rgb((h + hue) % 1, s, v), atol=1e-9)


@pytest.mark.parametrize(("side", "std"), [(3, 0.8), (5, 1.1)])
def test_blur_is_gaussian_with_a_mirrored_border(side, std):
    photo = torch.from_numpy(picture() / 255).permute(2, 0, 1)
    reach = side // 2
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * std**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2
    padded = np.pad(photo.numpy(), ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    for y, x in np.ndindex(6, 7):
        expected = (padded[:, y : y + side, x : x + side] * weights).sum(axis=(1, 2))
        np.testing.assert_allclose(blur(photo, side)[:, y, x], expected, atol=1e-9)


def test_photos_are_changed_each_for_itself_and_as_often_as_told():
    photo = normalise(picture())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    batch = photo.expand(400, -1, -1, -1)
    rngs = [np.random.default_rng(k) for k in range(400)]
    found = jitter(batch, rngs)
    assert found.shape == batch.shape and found.isfinite().all()
    colours = found * std + mean
    assert colours.min() > -1e-5 and colours.max() < 1 + 1e-5
    grey = (colours.amax(dim=1) - colours.amin(dim=1)).amax(dim=(1, 2)) < 1e-5
    assert abs(grey.float().mean() - 0.2) < 0.06
    same = (found - batch).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert abs(same.float().mean() - 0.2 * 0.8 * 0.5) < 0.04  # neither shifted, nor grey, nor blurred
    # The choices of a photo come from its own generator.
    alone = jitter(photo[None], [np.random.default_rng(7)])
    torch.testing.assert_close(alone[0], found[7])


def test_grey_weighs_red_and_blue_as_the_release_does():
    photo = torch.zeros(3, 4, 4)
    photo[0] = 1  # red
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    found = [jitter(((photo - mean) / std)[None], [np.random.default_rng(k)])[0] * std + mean for k in range(200)]
    unshifted = [each for each in found if (each.amax(dim=0) - each.amin(dim=0)).max() < 1e-5 and each.max() < 0.115]
    assert any(torch.allclose(each, torch.full_like(each, 0.114), atol=1e-5) for each in unshifted)
