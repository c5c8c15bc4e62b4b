"""Edge maps, walked CAMs and the confidence mask, each against a plain formulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssc.affinity import random_walk
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.data.transforms import normalise
from ssc.models.irn import IRN
from ssc.pseudo_labels import confidence_mask, edge_map, half_mask, label_confidence, walk_scores

WALK = {"radius": 3, "beta": 10, "exp_times": 4}
IRN_OPTIONS = {"backbone": "tiny", "output_stride": 8}


@pytest.fixture(scope="module")
def irn() -> IRN:
    torch.manual_seed(0)
    model = IRN(**IRN_OPTIONS).eval()
    with torch.no_grad():  # spread the edges over 0..1
        model.edge_fuse.weight *= 5
    return model


def confident_by_margins(scores: np.ndarray, keep: float) -> np.ndarray:
    """The confidence mask from sorted lists of margins."""
    mask = np.zeros(scores.shape[1:], bool)
    margins = {}
    for y, x in np.ndindex(mask.shape):
        column = scores[:, y, x].tolist()
        best = column.index(max(column))
        second = max(value for k, value in enumerate(column) if k != best)
        margins.setdefault(best, []).append((column[best] - second, y, x))
    for found in margins.values():
        ordered = sorted((margin for margin, _, _ in found), reverse=True)
        count = math.ceil(keep * len(ordered))
        for margin, y, x in found:
            mask[y, x] = count > 0 and margin >= ordered[count - 1]
    return mask


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 4),
    levels=st.sampled_from([2, 5, 10**6]),
    keep=st.sampled_from([0, 0.3, 0.5, 0.9, 1]),
)
def test_confidence_mask_equals_sorted_margins(seed, count, levels, keep):
    scores = np.random.default_rng(seed).integers(0, levels, (count, 5, 6)).astype(np.float64)
    mask = confidence_mask(scores, keep)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, confident_by_margins(scores, keep))
    best = scores.argmax(axis=0)
    for label in np.unique(best):
        kept, pixels = int(mask[best == label].sum()), int((best == label).sum())
        assert kept >= math.ceil(keep * pixels)
        if levels > 5:  # no ties
            assert kept == math.ceil(keep * pixels)


@pytest.mark.parametrize("rounding", ["up", "down"])
def test_labels_keep_the_pixels_where_their_own_score_leads_most(rounding):
    rng = np.random.default_rng(0)
    scores = rng.random((3, 7, 8))
    best = scores.argmax(axis=0)
    expected = confidence_mask(scores, 0.4, rounding=rounding)
    np.testing.assert_array_equal(label_confidence(scores, best, 0.4, rounding=rounding), expected)
    labels = rng.integers(0, 3, best.shape)
    mask = label_confidence(scores, labels, 0.4, rounding=rounding)
    for label in range(3):
        own = scores[label] - np.delete(scores, label, axis=0).max(axis=0)
        inside = labels == label
        assert own[inside & mask].min() > own[inside & ~mask].max()
        assert (inside & mask).sum() == (math.ceil if rounding == "up" else math.floor)(0.4 * inside.sum())
    assert label_confidence(np.zeros((1, 3, 4)), np.zeros((3, 4), int)).all()


def test_a_single_score_is_certain_everywhere():
    assert confidence_mask(np.zeros((1, 3, 4))).tolist() == np.ones((3, 4), bool).tolist()


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_edges_are_the_mean_of_photo_and_mirror_image(irn, tiny_set, scale):
    for row in read_index(tiny_set).split("train"):
        photo = Image.fromarray(read_image(row.image))
        enlarged = (round(scale * photo.width), round(scale * photo.height))
        image = np.asarray(photo.resize(enlarged, Image.Resampling.BICUBIC))
        edges = edge_map(irn, np.asarray(photo), scale=scale)
        assert edges.shape == tuple(-(-side // 4) for side in image.shape[:2])
        assert edges.min() >= 0 and edges.max() <= 1
        mean = 0
        for mirror in (False, True):
            view = normalise(image[:, ::-1] if mirror else image)[None]
            with torch.no_grad():
                one = irn(view)[0][0, 0].numpy()
            one = 1 / (1 + np.exp(-one))
            mean = mean + (one[:, ::-1] if mirror else one) / 2
        np.testing.assert_allclose(edges, mean, atol=1e-5)
        mirrored = edge_map(irn, np.asarray(photo)[:, ::-1].copy(), scale=scale).flip(-1)
        np.testing.assert_allclose(mirrored, edges, atol=1e-4)
        assert edges.std() > 0.01
        assert abs(edges - edges.flip(-1)).max() > 0.01


def walk_by_hand(cams: torch.Tensor, edges: torch.Tensor, size: tuple[int, int], scale: float) -> torch.Tensor:
    """Walk at stride 4 of the scaled photo, division by the maximum, then four steps back to the photo's size."""

    def bilinear(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return torch.nn.functional.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]

    walked = random_walk(bilinear(cams, edges.shape), edges, radius=3, beta=10, exp_times=4)
    whole_cells = bilinear(walked / walked.max(), (4 * edges.shape[0], 4 * edges.shape[1]))
    return bilinear(whole_cells[:, : round(scale * size[0]), : round(scale * size[1])], size)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 3),
    size=st.tuples(st.integers(9, 24), st.integers(9, 24)),
    scale=st.sampled_from([1.0, 1.5, 2.0]),
)
def test_walk_scores_lie_in_0_to_1(seed, count, size, scale):
    rng = np.random.default_rng(seed)
    cams = torch.from_numpy(rng.random((count, *(-(-side // 4) for side in size)), np.float32))
    edges = torch.from_numpy(rng.random([-(-round(scale * side) // 4) for side in size], np.float32))
    scores = walk_scores(cams, edges, size, scale=scale, **WALK)
    assert scores.shape == (count, *size)
    assert scores.min() > -1e-6 and 0.3 < scores.max() < 1 + 1e-6
    torch.testing.assert_close(scores, walk_by_hand(cams, edges, size, scale))
    # one maximum divides all classes: a common factor has no effect, and their ratio stays
    torch.testing.assert_close(walk_scores(7 * cams, edges, size, scale=scale, **WALK), scores)


def test_walk_scores_of_nothing_are_zero():
    scores = walk_scores(torch.zeros(2, 4, 5), torch.full((4, 5), 0.5), (15, 20), **WALK)
    assert scores.shape == (2, 15, 20) and not scores.any()


class Grouped(torch.nn.Module):
    """Edge logits at stride 4 from a group norm over the whole input, as IRN's heads have it."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.GroupNorm(1, 3)
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def edges(self, image):
        pooled = torch.nn.functional.avg_pool2d(self.norm(image), 4, ceil_mode=True)
        return (pooled * self.weight.view(3, 1, 1)).sum(dim=1, keepdim=True)


def edges_by_hand(image: np.ndarray, pad: int | None, mirror: str) -> np.ndarray:
    """What `Grouped` sees of a photo: the normalised photo in the corner of a square of zeros."""
    maps = []
    for pixels in (image, image[:, ::-1]):
        view = normalise(pixels).numpy()
        height, width = view.shape[1:]
        side = [max(pad or 0, length) for length in (height, width)]
        square = np.zeros((3, *side))
        square[:, :height, :width] = view
        square = (square - square.mean()) / np.sqrt(square.var() + 1e-5)
        weighted = np.tensordot([1.0, -2.0, 0.5], square, 1)
        cells = [-(-height // 4), -(-width // 4)]
        found = [
            [weighted[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean() for x in range(cells[1])] for y in range(cells[0])
        ]
        maps.append(np.array(found))
    plain, mirrored = maps[0], maps[1][:, ::-1]
    if mirror == "logit":
        return 1 / (1 + np.exp(-(plain + mirrored) / 2))
    return (1 / (1 + np.exp(-plain)) + 1 / (1 + np.exp(-mirrored))) / 2


@pytest.mark.parametrize("pad", [None, 64, 36])
@pytest.mark.parametrize("mirror", ["probability", "logit"])
def test_padding_is_seen_by_the_group_norm_and_mirror_images_meet_as_asked(pad, mirror):
    coarse = np.random.default_rng(5).integers(0, 256, (6, 7, 3), np.uint8)
    image = np.asarray(
        Image.fromarray(coarse).resize((42, 30), Image.Resampling.BICUBIC)
    )  # width no multiple of the pad
    edges = edge_map(Grouped().eval(), image, pad=pad, mirror=mirror)
    assert edges.shape == (8, 11)
    expected = edges_by_hand(image, pad, mirror)
    np.testing.assert_allclose(edges, expected, atol=1e-6)
    others = [(own, how) for own in (None, 36, 64) for how in ("probability", "logit") if (own, how) != (pad, mirror)]
    for other in others:  # 36 and 42 pixels wide, the photo is padded below only
        assert np.abs(expected - edges_by_hand(image, *other)).max() > 1e-4


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_division_after_the_scores_are_enlarged(scale):
    rng, size = np.random.default_rng(1), (18, 23)
    cams = torch.from_numpy(rng.random((2, 5, 6), np.float32))
    edges = torch.from_numpy(rng.random([-(-round(scale * side) // 4) for side in size], np.float32))
    before = walk_scores(cams, edges, size, scale=scale, **WALK)
    after = walk_scores(cams, edges, size, scale=scale, divide="after", **WALK)
    assert before.max() < 0.99 and after.max() == 1
    torch.testing.assert_close(after, before / before.max())
    assert not walk_scores(torch.zeros(2, 4, 5), torch.full((4, 5), 0.5), (15, 20), divide="after", **WALK).any()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([3, 10**6]), keep=st.sampled_from([0, 0.3, 0.5, 1]))
def test_rounding_down_keeps_as_many_and_the_largest_margins(seed, levels, keep):
    scores = np.random.default_rng(seed).integers(0, levels, (3, 5, 7)).astype(np.float64)
    mask = confidence_mask(scores, keep, rounding="down")
    ordered = np.sort(scores, axis=0)
    margin, best = ordered[-1] - ordered[-2], scores.argmax(axis=0)
    for label in np.unique(best):
        inside = best == label
        assert mask[inside].sum() == math.floor(keep * inside.sum())
        if mask[inside].any() and not mask[inside].all():
            assert margin[inside & mask].min() >= margin[inside & ~mask].max()
    if levels > 5:
        assert not (mask & ~confidence_mask(scores, keep)).any()


def test_half_of_the_pixels_is_the_same_half_for_the_same_photo():
    first, again, other = half_mask((15, 21), "a"), half_mask((15, 21), "a"), half_mask((15, 21), "b")
    assert first.dtype == bool and first.sum() == other.sum() == 15 * 21 // 2
    np.testing.assert_array_equal(first, again)
    assert 0.3 < (first != other).mean() < 0.7
    assert first.sum(axis=1).min() > 4 and first.sum(axis=1).max() < 17  # spread over the photo
