import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ssc.constants import voc_palette
from ssc.report.pictures import colourise, grey, heat, outlines, overlay

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
label_maps = hnp.arrays(np.int32, shapes, elements=st.sampled_from([0, 1, 2, 20, 255]))


@settings(max_examples=50, deadline=None)
@given(labels=label_maps, alpha=st.floats(0, 1), seed=st.integers(0, 9))
def test_overlay_equals_a_loop_over_pixels(labels, alpha, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*labels.shape, 3), np.uint8)
    result = overlay(image, labels, alpha)
    assert (result.dtype, result.shape) == (np.uint8, image.shape)
    palette = voc_palette()
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            border = any(labels[p] != label for p in near if 0 <= p[0] < height and 0 <= p[1] < width)
            weight = 0 if label == 0 else (1 + alpha) / 2 if border else alpha
            colour = [211, 211, 211] if label == 255 else palette[3 * label : 3 * label + 3]
            expected = (1 - weight) * image[y, x] + weight * np.array(colour)
            assert abs(result[y, x] - expected).max() <= 0.51


@settings(max_examples=25, deadline=None)
@given(labels=label_maps)
def test_colourise_equals_a_palette_png(labels):
    image = Image.fromarray(labels.astype(np.uint8), mode="P")
    image.putpalette(voc_palette())
    np.testing.assert_array_equal(colourise(labels), np.asarray(image.convert("RGB")))


def test_wrong_shapes_and_labels_are_refused():
    image = np.zeros((4, 6, 3), np.uint8)
    with pytest.raises(ValueError, match="differ in size"):
        overlay(image, np.zeros((6, 4), int))
    for label in (-1, 256):
        with pytest.raises(ValueError, match=r"not in 0\.\.255"):
            overlay(image, np.full((4, 6), label))
        with pytest.raises(ValueError, match=r"not in 0\.\.255"):
            colourise(np.full((4, 6), label))


def test_the_heat_map_follows_the_strongest_class():
    image = np.full((16, 24, 3), 128, np.uint8)
    cams = torch.zeros(2, 16, 24)
    cams[0, :, :8], cams[1, :, 16:] = 1, 1
    picture = heat(image, cams).astype(int)
    redness = picture[..., 0] - picture[..., 2]
    assert redness[:, :6].min() > 0 and redness[:, 18:].min() > 0  # hot at both ends, cold between
    assert redness[:, 11:13].max() < 0
    np.testing.assert_array_equal(heat(image, torch.zeros(0, 16, 24)), image)


@settings(max_examples=50, deadline=None)
@given(regions=label_maps)
def test_lines_between_regions_lie_on_one_side(regions):
    image = np.full((*regions.shape, 3), 10, np.uint8)
    changed = (outlines(image, regions) != image).any(-1)
    for y, x in np.ndindex(regions.shape):
        near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [p for p in near if 0 <= p[0] < regions.shape[0] and 0 <= p[1] < regions.shape[1]]
        assert changed[y, x] == any(regions[p] > regions[y, x] for p in inside)


def test_grey_maps():
    np.testing.assert_array_equal(grey(torch.tensor([[0, 0.5, 1]]))[0], [[0] * 3, [128] * 3, [255] * 3])
