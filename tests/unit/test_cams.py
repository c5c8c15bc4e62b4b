"""CAMs against one forward pass per scale and mirror image, resized pixel by pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssc.cams import (
    average_over_superpixels,
    cell_centres,
    full_cams,
    multi_scale_cams,
    resize_maps,
    scale_activations,
    upsample,
)
from ssc.data.transforms import scaled_view
from ssc.models.classifier import CAMClassifier

CLASSES = 3


@pytest.fixture(scope="module")
def model() -> CAMClassifier:
    torch.manual_seed(3)  # each class is both active and silent somewhere
    return CAMClassifier(CLASSES, "tiny", output_stride=8).eval()


def photo(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(height + width).integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def bilinear(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(K, h, w) to (K, *size), pixel by pixel; pixel centres match, the border repeats."""
    height, width = maps.shape[1:]
    out = np.zeros((len(maps), *size))
    for i, j in np.ndindex(size):
        y = max((i + 0.5) * height / size[0] - 0.5, 0)
        x = max((j + 0.5) * width / size[1] - 0.5, 0)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = maps[:, top, left] * (1 - x + left) + maps[:, top, right] * (x - left)
        lower = maps[:, bottom, left] * (1 - x + left) + maps[:, bottom, right] * (x - left)
        out[:, i, j] = upper * (1 - y + top) + lower * (y - top)
    return out


def cams_of(model: CAMClassifier, image: np.ndarray, scales: list[float]) -> torch.Tensor:
    return multi_scale_cams(model, [scaled_view(image, scale)[None] for scale in scales], image.shape[:2])[0]


def cams_by_views(model: CAMClassifier, image: np.ndarray, scales: list[float]) -> np.ndarray:
    """Multi-scale CAMs from one forward pass per scale and mirror image."""
    height, width = image.shape[:2]
    total = 0
    for scale in scales:
        size = round(width * scale), round(height * scale)
        view = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) / 255
        view = (view - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        for mirrored in (False, True):
            pixels = view[:, ::-1] if mirrored else view
            tensor = torch.tensor(pixels.transpose(2, 0, 1)[None].copy(), dtype=torch.float32)
            with torch.no_grad():
                features = model(tensor)[1][0].numpy()
            activation = np.maximum(features[..., ::-1] if mirrored else features, 0)
            total = total + bilinear(activation, (-(-height // 4), -(-width // 4)))
    return total


@pytest.mark.parametrize(("size", "scales"), [((32, 48), [1.0, 0.5, 1.5, 2.0]), ((29, 35), [0.75, 1.0])])
def test_cams_sum_over_scales_and_mirror_images(model, size, scales):
    image = photo(*size)
    cams = cams_of(model, image, scales)
    assert cams.shape == (CLASSES, -(-size[0] // 4), -(-size[1] // 4)) and cams.dtype == torch.float32
    expected = cams_by_views(model, image, scales)
    assert 0 < (expected > 0).mean() < 1  # both sides of the ReLU are seen
    np.testing.assert_allclose(cams, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("scales", [[1.0], [1.0, 0.5, 1.5, 2.0]])
def test_the_mirrored_photo_has_the_mirrored_cams(model, scales):
    image = photo(32, 48)
    cams = cams_of(model, image, scales)
    mirrored = cams_of(model, np.ascontiguousarray(image[:, ::-1]), scales)
    assert (cams - cams.flip(-1)).abs().max() > 0.1 * cams.max()
    np.testing.assert_allclose(mirrored.flip(-1), cams, atol=1e-4 * float(cams.max()))


@pytest.mark.parametrize("size", [(12, 20), (9, 17), (10, 18)])
def test_upsample_is_bilinear_by_four(size):
    maps = np.random.default_rng(0).random((2, 3, 5))
    full = upsample(torch.tensor(maps, dtype=torch.float16), size)
    assert full.dtype == torch.float32
    expected = bilinear(maps.astype(np.float16).astype(float), (12, 20))[:, : size[0], : size[1]]
    np.testing.assert_allclose(full, expected, atol=1e-6)


def test_upsample_of_no_maps_is_no_maps():
    assert upsample(torch.zeros(0, 3, 5), (9, 17)).shape == (0, 9, 17)


@pytest.mark.parametrize("size", [(6, 10), (2, 4), (3, 8), (7, 3)])
def test_resized_maps_are_bilinear(size):
    maps = torch.from_numpy(np.random.default_rng(0).random((2, 3, 5)))
    np.testing.assert_allclose(resize_maps(maps, size), bilinear(maps.numpy(), size), atol=1e-12)
    assert resize_maps(maps, (3, 5)) is maps


@pytest.mark.parametrize("size", [(32, 48), (29, 35), (5, 6)])
def test_average_over_superpixels_is_the_mean_of_each_region(size):
    rng = np.random.default_rng(0)
    grid = tuple(-(-side // 4) for side in size)
    cams = torch.from_numpy(rng.random((2, *grid), np.float32))
    regions = rng.integers(0, 4, size) * 3
    full = bilinear(cams.numpy(), tuple(4 * side for side in grid))[:, : size[0], : size[1]]
    expected = np.zeros_like(cams)
    for row, column in np.ndindex(grid):
        centre = regions[min(4 * row + 2, size[0] - 1), min(4 * column + 2, size[1] - 1)]
        expected[:, row, column] = full[:, regions == centre].mean(axis=1)
    found = cell_centres(average_over_superpixels(upsample(cams, size), regions))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (33, 35), (17, 52)])
def test_the_map_of_the_release_is_stretched_to_a_multiple_of_sixteen_and_cut(model, size):
    """Summed at full resolution: relu(f) of each view is enlarged from its own stride to the next multiple of 16."""
    image, scales = photo(*size), [1.0, 0.5, 2.0]
    views = [scaled_view(image, scale)[None] for scale in scales]
    whole = tuple(-(-side // 16) * 16 for side in size)
    expected = 0
    for view in views:
        with torch.no_grad():
            plain, mirrored = (model(each)[1][0].relu().numpy() for each in (view, view.flip(-1)))
        expected = expected + bilinear(plain + mirrored[..., ::-1], whole)
    found = multi_scale_cams(model, views, size, stride=1)[0]
    assert found.shape == (CLASSES, *size)
    np.testing.assert_allclose(found, expected[:, : size[0], : size[1]], atol=1e-6 * expected.max())
    coarse = upsample(multi_scale_cams(model, views, size)[0], size)
    assert (found - coarse).abs().max() > 0.05 * found.max()  # another map than that of stride 4


@pytest.mark.parametrize("size", [(32, 48), (33, 35)])
def test_full_cams_are_made_of_what_an_archive_holds(model, size):
    image = photo(*size)
    views = [scaled_view(image, scale)[None] for scale in (1.0, 0.5)]
    full, coarse = (multi_scale_cams(model, views, size, stride=stride)[0] for stride in (1, 4))
    top = full.amax(dim=(1, 2), keepdim=True)
    scales = {f"scale_{n}": (each[0] / top).numpy() for n, each in enumerate(scale_activations(model, views))}
    arrays = {"classes": np.arange(CLASSES), "cams": (coarse / coarse.max()).numpy()}
    np.testing.assert_allclose(full_cams(arrays | scales, size), full / top, atol=1e-6)
    np.testing.assert_array_equal(full_cams(arrays, size), upsample(torch.from_numpy(arrays["cams"]), size))
    given = np.random.default_rng(0).random((CLASSES, *size)).astype(np.float16)
    np.testing.assert_array_equal(full_cams(arrays | {"high_res": given}, size), given.astype(np.float32))
    nothing = {"cams": np.zeros((0, 3, 3)), "scale_0": np.zeros((0, 2, 2)), "scale_1": np.zeros((0, 1, 1))}
    assert full_cams(nothing, size).shape == (0, *size)
