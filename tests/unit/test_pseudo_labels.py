import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssc import archive, crf
from ssc.stages import irn_labels
from ssc.affinity import random_walk
from ssc.archive import Archive
from ssc.cams import argmax_labels, upsample
from ssc.data.index import read_index
from ssc.data.transforms import normalise, read_image
from ssc.stages.irn_labels import confident_labels, write_irn_labels
from ssc.models.irn import IRN
from ssc.pseudo_labels import confidence_mask, edge_map, walk_scores, write_pseudo_labels
from ssc.models.weights import save_weights

CRF = {
    "confidence": 0.7,
    "iterations": 3,
    "gaussian_sxy": 3,
    "gaussian_weight": 3,
    "bilateral_sxy": 50,
    "bilateral_srgb": 5,
    "bilateral_weight": 10,
}
IRN_LABELS = {"foreground": 0.5, "background": 0.25, "crf": CRF}
WALK = {"scale": 1.0, "radius": 3, "beta": 10, "exp_times": 4, "background": 0.6, "keep": 0.5}
IRN_OPTIONS = {"backbone": "tiny", "output_stride": 8}


@pytest.fixture(scope="module")
def irn() -> IRN:
    torch.manual_seed(0)
    model = IRN(**IRN_OPTIONS).eval()
    with torch.no_grad():  # spread the edges over 0..1
        model.edge_fuse.weight *= 5
    return model


def smooth(rng: np.random.Generator, count: int, height: int, width: int) -> torch.Tensor:
    """Random maps in 0..1 that vary slowly."""
    coarse = torch.from_numpy(rng.random((1, count, 3, 4)))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0].float()


@pytest.fixture
def cam_archive(tiny_set, tmp_path):
    rng = np.random.default_rng(1)
    with archive.write(tmp_path / "cams.zip") as out:
        for row in read_index(tiny_set).split("train"):
            height, width = read_image(row.image).shape[:2]
            count = len(row.labels)
            cams = smooth(rng, max(count, 1), -(-height // 4), -(-width // 4))[:count].numpy()
            out.add_arrays(row.id, classes=np.array(row.labels, np.int16), cams=cams.astype(np.float16))
    return tmp_path / "cams.zip"


# Labels from scores


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 3), background=st.sampled_from([0, 0.25, 0.5, 1]))
def test_argmax_labels_equal_a_loop_and_ties_are_background(seed, count, background):
    cams = (np.random.default_rng(seed).integers(0, 5, (count, 3, 4)) / 4).astype(np.float32)
    labels = argmax_labels(torch.from_numpy(cams), background)
    assert labels.dtype == np.int64 and labels.shape == (3, 4)
    for y, x in np.ndindex(3, 4):
        best, score = 0, background
        for k in range(count):
            if cams[k, y, x] > score:
                best, score = k + 1, cams[k, y, x]
        assert labels[y, x] == best


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


def test_a_single_score_is_certain_everywhere():
    assert confidence_mask(np.zeros((1, 3, 4))).tolist() == np.ones((3, 4), bool).tolist()


# Labels for IRN


def test_confident_labels_combine_the_two_passes(monkeypatch):
    # all pairs of what the passes may say about three labels
    first, second = np.repeat([0, 1, 2], 3).reshape(3, 3), np.tile([0, 1, 2], 3).reshape(3, 3)
    calls = []

    class Canned:
        def __init__(self, image, **kernels):
            calls.append(kernels)

        def refine_labels(self, labels, **keywords):
            calls.append((labels.tolist(), keywords))
            return np.stack([first, second])

    monkeypatch.setattr(irn_labels, "DenseCRF", Canned)
    cams = torch.tensor([[0.6, 0.4, 0.1], [0.3, 0.2, 0.25], [0.0, 1.0, 0.5]])
    cams = torch.stack([cams, cams.flip(0)])
    labels = confident_labels(np.zeros((3, 3, 3), np.uint8), np.array([4, 9]), cams, IRN_LABELS)
    # foreground of the first pass stays, agreement on background is background, the rest is ignored
    assert labels.tolist() == [[0, 255, 255], [4, 4, 4], [9, 9, 9]]
    kernels, (starts, keywords) = calls
    assert kernels == {"gaussian": (3, 3), "bilateral": (50, 5, 10)}
    assert keywords == {"num_labels": 3, "confidence": 0.7, "iterations": 3}
    assert starts == [argmax_labels(cams, 0.5).tolist(), argmax_labels(cams, 0.25).tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_confident_labels_equal_two_separate_passes(seed):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    image = np.asarray(coarse.resize((37, 26), Image.Resampling.NEAREST))
    cams = smooth(rng, 2, 26, 37) ** 2
    classes = np.array([2, 17])
    keywords = {"num_labels": 3, "confidence": 0.7, "iterations": 3, "gaussian": (3, 3), "bilateral": (50, 5, 10)}
    first, second = (
        crf.refine_labels(image, argmax_labels(cams, IRN_LABELS[key]), **keywords)
        for key in ("foreground", "background")
    )
    labels = confident_labels(image, classes, cams, IRN_LABELS)
    assert labels.dtype == np.int64
    for y, x in np.ndindex(26, 37):
        certain_foreground, certain_background = first[y, x] > 0, first[y, x] == second[y, x] == 0
        expected = classes[first[y, x] - 1] if certain_foreground else 0 if certain_background else 255
        assert labels[y, x] == expected
    assert {0, 255} < set(np.unique(labels))


def test_a_photo_without_classes_is_certain_background():
    labels = confident_labels(np.zeros((3, 4, 3), np.uint8), np.array([], int), torch.zeros(0, 3, 4), IRN_LABELS)
    assert labels.tolist() == np.zeros((3, 4)).tolist()


@pytest.mark.parametrize("threads", [1, 3])
def test_irn_labels_of_a_shard(tiny_set, cam_archive, tmp_path, threads):
    write_irn_labels(
        index=tiny_set,
        shard="1-of-1",
        cams=cam_archive,
        output=tmp_path / "labels.zip",
        settings=IRN_LABELS,
        threads=threads,
    )
    written, cams = Archive(tmp_path / "labels.zip"), Archive(cam_archive)
    assert written.ids() == ["a", "b", "c"]
    for row in read_index(tiny_set).split("train"):
        image = read_image(row.image)
        if row.labels:
            maps = upsample(torch.from_numpy(cams.arrays(row.id)["cams"]), image.shape[:2])
            expected = confident_labels(image, np.array(row.labels), maps, IRN_LABELS)
            assert len(np.unique(expected)) > 1
        else:
            expected = np.zeros(image.shape[:2])
        np.testing.assert_array_equal(written.labels(row.id), expected)


# Random walk


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
    walk = {**WALK, "scale": scale}
    scores = walk_scores(cams, edges, size, walk)
    assert scores.shape == (count, *size)
    assert scores.min() > -1e-6 and 0.3 < scores.max() < 1 + 1e-6
    torch.testing.assert_close(scores, walk_by_hand(cams, edges, size, scale))
    # one maximum divides all classes: a common factor has no effect, and their ratio stays
    torch.testing.assert_close(walk_scores(7 * cams, edges, size, walk), scores)


def test_walk_scores_of_nothing_are_zero():
    scores = walk_scores(torch.zeros(2, 4, 5), torch.full((4, 5), 0.5), (15, 20), WALK)
    assert scores.shape == (2, 15, 20) and not scores.any()


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_pseudo_labels_of_a_shard(irn, tiny_set, cam_archive, tmp_path, scale):
    save_weights(tmp_path / "irn.safetensors", {"irn": (irn, IRN_OPTIONS)})
    for shard in ("1-of-2", "2-of-2"):
        write_pseudo_labels(
            index=tiny_set,
            shard=shard,
            cams=cam_archive,
            weights=tmp_path / "irn.safetensors",
            output=tmp_path / f"labels-{shard}.zip",
            confidence=tmp_path / f"mask-{shard}.zip",
            settings={**WALK, "scale": scale},
            device="cpu",
        )
    written = Archive(*tmp_path.glob("labels-*.zip"))
    masks = Archive(*tmp_path.glob("mask-*.zip"))
    assert written.ids() == masks.ids() == ["a", "b", "c"]
    for row in read_index(tiny_set).split("train"):
        image = read_image(row.image)
        labels, mask = written.labels(row.id), masks.labels(row.id)
        assert labels.shape == mask.shape == image.shape[:2]
        if not row.labels:
            assert not labels.any() and mask.all()
            continue
        cams = torch.from_numpy(Archive(cam_archive).arrays(row.id)["cams"].astype(np.float32))
        full = walk_by_hand(cams, edge_map(irn, image, scale=scale), image.shape[:2], scale).numpy()
        scores = np.concatenate([np.full((1, *image.shape[:2]), WALK["background"], np.float32), full])
        np.testing.assert_array_equal(labels, np.array([0, *row.labels])[scores.argmax(axis=0)])
        assert 0 in labels and set(np.unique(labels)) <= {0, *row.labels}
        np.testing.assert_array_equal(mask == 1, confident_by_margins(scores, WALK["keep"]))
        assert set(np.unique(mask)) == {0, 1}
