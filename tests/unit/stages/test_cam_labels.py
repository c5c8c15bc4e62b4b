"""Pseudo-labels of the CAMs alone, against a formulation by loops over pixels."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ssc import archive
from ssc.archive import Archive
from ssc.crf import DenseCRF
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.stages import cam_labels as stage
from ssc.stages.cam_labels import write_cam_labels
from ssc.workflow.settings import PseudoLabels

CRF = {"iterations": 3, "bilateral_sxy": 20}


@pytest.fixture(params=["stride 4", "full size"])
def cam_archive(request, tiny_set, tmp_path):
    """CAMs that vary slowly; of a run with `cams.stride: 1` both maps, which have nothing in common."""
    rng = np.random.default_rng(1)
    with archive.write(tmp_path / "cams.zip") as out:
        for row in read_index(tiny_set).split("train"):
            height, width = read_image(row.image).shape[:2]
            sizes = {"cams": (-(-height // 4), -(-width // 4)), "high_res": (height, width)}
            coarse = torch.from_numpy(rng.random((1, 2, 3, 4))).float()
            maps = {
                name: torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0, : len(row.labels)].numpy()
                for name, size in sizes.items()
            }
            maps["cams"] = maps["cams"][:, ::-1]
            if request.param == "stride 4":
                del maps["high_res"]
            out.add_arrays(row.id, classes=np.array(row.labels, np.int16), **maps)
    return tmp_path / "cams.zip"


def write(index, cams, folder, shard="1-of-1", **options):
    """The label maps and masks by image."""
    written = folder / f"labels-{shard}.zip", folder / f"mask-{shard}.zip"
    settings = options.pop("settings")
    write_cam_labels(
        index=index, shard=shard, cams=cams, output=written[0], confidence=written[1], settings=settings, **options
    )
    return [{name: each.labels(name) for name in each.ids()} for each in map(Archive, written)]


def full_size(arrays, size):
    """The map that seeds are made of: that at the photo's size, else four times the other."""
    if "high_res" in arrays:
        return arrays["high_res"]
    maps = torch.from_numpy(arrays["cams"])[None]
    enlarged = torch.nn.functional.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)[0]
    return enlarged[:, : size[0], : size[1]].numpy()


def labelled(maps, threshold):
    """Position of the first of the largest among threshold and maps, by loops."""
    found = np.zeros(maps.shape[1:], int)
    for y, x in np.ndindex(found.shape):
        column = [threshold, *maps[:, y, x].tolist()]
        found[y, x] = column.index(max(column))
    return found


def refined(image, labels, count, confidence):
    """One pass of the CRF over the labels as probabilities."""
    probabilities = np.full((count, *labels.shape), (1 - confidence) / (count - 1))
    for y, x in np.ndindex(labels.shape):
        probabilities[labels[y, x], y, x] = confidence
    crf = DenseCRF(image, gaussian=(3, 3), bilateral=(20, 5, 10))
    return crf.refine_probabilities(probabilities, iterations=3).argmax(axis=0)


def confident(maps, labels, threshold, keep):
    """Of each label's pixels those whose own score leads by most, or trails by least, in sorted lists."""
    mask, leads = np.zeros(labels.shape, bool), {}
    for y, x in np.ndindex(labels.shape):
        column = [threshold, *maps[:, y, x].tolist()]
        own = column.pop(labels[y, x])
        leads.setdefault(labels[y, x], []).append((own - max(column), y, x))
    for found in leads.values():
        found.sort(reverse=True)
        least = found[int(np.ceil(keep * len(found))) - 1][0]
        for lead, y, x in found:
            mask[y, x] = lead >= least
    return mask


@pytest.mark.parametrize("method", ["crf", "none"])
@pytest.mark.parametrize("threads", [1, 3])
def test_labels_and_masks_against_loops(tiny_set, cam_archive, tmp_path, method, threads):
    settings = PseudoLabels(method=method, threshold=0.5, keep=0.3, crf={**CRF, "confidence": 0.6})
    found = [write(tiny_set, cam_archive, tmp_path, f"{k}-of-2", settings=settings, threads=threads) for k in (1, 2)]
    labels, masks = ({**first, **second} for first, second in zip(*found, strict=True))
    assert sorted(labels) == sorted(masks) == ["a", "b", "c"]
    for row in read_index(tiny_set).split("train"):
        image = read_image(row.image)
        if not row.labels:
            assert not labels[row.id].any() and masks[row.id].all()
            continue
        maps = full_size(Archive(cam_archive).arrays(row.id), image.shape[:2])
        expected = plain = labelled(maps, 0.5)
        if method == "crf":
            expected = refined(image, plain, len(maps) + 1, 0.6)
            assert 0 < (expected != plain).mean() < 0.5
        np.testing.assert_array_equal(labels[row.id], np.array([0, *row.labels])[expected])
        np.testing.assert_array_equal(masks[row.id] == 1, confident(maps, expected, 0.5, 0.3))
        assert {0, *row.labels} == set(np.unique(labels[row.id]))


def test_an_automatic_threshold_is_the_cams_own(tiny_set, cam_archive, tmp_path):
    (tmp_path / "threshold.json").write_text(json.dumps({"threshold": 0.6}))
    automatic = PseudoLabels(method="none", threshold="auto")
    found = write(tiny_set, cam_archive, tmp_path, settings=automatic, cam_threshold=tmp_path / "threshold.json")
    expected = write(tiny_set, cam_archive, tmp_path, settings=automatic.model_copy(update={"threshold": 0.6}))
    for ours, theirs in zip(found, expected, strict=True):
        for name in "abc":
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_half_of_a_photo_without_labels_may_be_confident(tiny_set, cam_archive, tmp_path):
    half = PseudoLabels(method="crf", unlabelled="half", threshold=0.5, crf=CRF)
    labels, masks = write(tiny_set, cam_archive, tmp_path, settings=half)
    assert not labels["c"].any() and masks["c"].sum() == 20 * 24 // 2


def test_corrected_masks_win_and_are_all_that_is_made_anew(tiny_set, cam_archive, tmp_path, monkeypatch):
    made = []
    settings = PseudoLabels(method="none", threshold=0.5)
    monkeypatch.setattr(stage, "full_cams", lambda *a, f=stage.full_cams: made.append(a[1]) or f(*a))
    labels, masks = write(tiny_set, cam_archive, tmp_path, settings=settings)
    mended = labels["b"].copy()
    mended[:9, :9], mended[20:, 20:] = 3, 255
    (tmp_path / "mended").mkdir()
    Image.fromarray(mended.astype(np.uint8)).save(tmp_path / "mended" / "b.png")
    corrected = settings.model_copy(update={"corrected": str(tmp_path / "mended")})
    new_labels, new_masks = write(tiny_set, cam_archive, tmp_path, settings=corrected)
    np.testing.assert_array_equal(new_labels["b"], mended)
    np.testing.assert_array_equal(new_masks["b"], mended != 255)
    for name in "ac":
        np.testing.assert_array_equal(new_labels[name], labels[name])
        np.testing.assert_array_equal(new_masks[name], masks[name])
    assert len(made) == 3
