import numpy as np
import pytest
import torch
from PIL import Image

from ssc import archive
from ssc.archive import Archive
from ssc.cams import average_over_superpixels, cell_centres, full_cams, multi_scale_cams, upsample
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.data.transforms import scaled_view
from ssc.models.classifier import CAMClassifier
from ssc.models.weights import save_weights
from ssc.stages.cams import write_cams
from ssc.workflow.settings import CAMs

CLASSES = 3


@pytest.fixture(scope="module")
def model() -> CAMClassifier:
    torch.manual_seed(3)  # each class is both active and silent somewhere
    return CAMClassifier(CLASSES, "tiny", output_stride=8).eval()


def photo(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(height + width).integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write_blocks(path, rows):
    """An archive of superpixels: squares of 8 pixels."""
    with archive.write(path) as writer:
        for row in rows:
            height, width = read_image(row.image).shape[:2]
            writer.add_labels(row.id, np.arange(height)[:, None] // 8 * 8 + np.arange(width) // 8)


def cams_of(model: CAMClassifier, image: np.ndarray, scales: list[float]) -> torch.Tensor:
    return multi_scale_cams(model, [scaled_view(image, scale)[None] for scale in scales], image.shape[:2])[0]


def test_extracted_cams_are_normalised_maps_of_the_classes_present(model, tiny_set, tmp_path):
    options = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 8}
    save_weights(tmp_path / "w.safetensors", {"classifier": (model, options)})
    settings = CAMs(scales=[1.0, 0.5])
    found = {}
    for shard in ("1-of-2", "2-of-2"):
        write_cams(
            index=tiny_set,
            shard=shard,
            weights=tmp_path / "w.safetensors",
            superpixels=None,
            output=tmp_path / f"{shard}.zip",
            settings=settings,
            device="cpu",
        )
        part = Archive(tmp_path / f"{shard}.zip")
        found |= dict.fromkeys(part.ids(), part)
    assert sorted(found) == ["a", "b", "c"]
    for row in read_index(tiny_set).split("train"):
        stored = found[row.id].arrays(row.id)
        assert stored["classes"].dtype == np.int16 and stored["cams"].dtype == np.float16
        assert stored["classes"].tolist() == list(row.labels)
        image = read_image(row.image)
        raw = cams_of(model, image, settings.scales).numpy()
        assert stored["cams"].shape == (len(row.labels), *raw.shape[1:])
        for label, cam in zip(row.labels, stored["cams"], strict=True):
            peak = raw[label - 1].max()
            np.testing.assert_allclose(cam, raw[label - 1] / (peak + 1e-5), atol=1e-3)
            assert cam.min() >= 0 and cam.max() <= 1
            assert peak > 0 and cam.max() > 0.99
        classes, cams = found[row.id].cams(row.id)
        assert classes.dtype == np.int64 and cams.dtype == np.float32
        np.testing.assert_array_equal(cams, stored["cams"].astype(np.float32))


def test_a_silent_class_has_zero_cams_not_nan(tiny_set, tmp_path):
    torch.manual_seed(0)
    silent = CAMClassifier(CLASSES, "tiny", output_stride=8)
    torch.nn.init.zeros_(silent.classifier.weight)
    options = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 8}
    save_weights(tmp_path / "w.safetensors", {"classifier": (silent, options)})
    write_cams(
        index=tiny_set,
        shard="1-of-1",
        weights=tmp_path / "w.safetensors",
        superpixels=None,
        output=tmp_path / "cams.zip",
        settings=CAMs(scales=[1.0]),
        device="cpu",
    )
    assert (Archive(tmp_path / "cams.zip").arrays("a")["cams"] == 0).all()


def test_drs_can_be_left_out_of_the_extraction(tiny_set, tmp_path):
    torch.manual_seed(0)
    options = {"num_classes": 3, "backbone": "tiny", "output_stride": 8, "drs": True}
    save_weights(tmp_path / "classifier.safetensors", {"classifier": (CAMClassifier(**options), options)})
    found = []
    for drs in (True, False):
        write_cams(
            index=tiny_set,
            shard="1-of-1",
            weights=tmp_path / "classifier.safetensors",
            superpixels=None,
            output=tmp_path / f"{drs}.zip",
            settings=CAMs(scales=[1.0], drs=drs),
        )
        found.append((tmp_path / f"{drs}.zip").read_bytes())
    assert found[0] != found[1]


def test_cams_are_averaged_over_superpixels_before_they_are_normalised(tiny_set, tmp_path, model):
    options = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 8}
    save_weights(tmp_path / "w.safetensors", {"classifier": (model, options)})
    rows = read_index(tiny_set).split("train")
    write_blocks(tmp_path / "superpixels.zip", rows)
    for refine in ("none", "superpixels"):
        write_cams(
            index=tiny_set,
            shard="1-of-1",
            weights=tmp_path / "w.safetensors",
            superpixels=tmp_path / "superpixels.zip",
            output=tmp_path / f"cams_{refine}.zip",
            settings=CAMs(scales=[1.0], refine=refine),
            device="cpu",
        )
    plain, refined = Archive(tmp_path / "cams_none.zip"), Archive(tmp_path / "cams_superpixels.zip")
    regions = Archive(tmp_path / "superpixels.zip")
    assert refined.arrays("c")["cams"].shape[0] == 0
    for row in rows[:2]:
        own = torch.from_numpy(plain.arrays(row.id)["cams"].astype(np.float32))
        labels = regions.labels(row.id)
        means = cell_centres(average_over_superpixels(upsample(own, labels.shape), labels))
        expected = means / means.amax(dim=(1, 2), keepdim=True).clamp(min=1e-4)
        np.testing.assert_allclose(refined.arrays(row.id)["cams"], expected, atol=3e-3)


@pytest.mark.parametrize("refine", ["none", "superpixels"])
def test_maps_at_the_size_of_the_photo(tiny_set, tmp_path, model, refine):
    options = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 8}
    save_weights(tmp_path / "w.safetensors", {"classifier": (model, options)})
    rows = read_index(tiny_set).split("train")
    write_blocks(tmp_path / "superpixels.zip", rows)
    write_cams(
        index=tiny_set,
        shard="1-of-1",
        weights=tmp_path / "w.safetensors",
        superpixels=tmp_path / "superpixels.zip",
        output=tmp_path / "cams.zip",
        settings=CAMs(scales=[1.0, 0.5], refine=refine, stride=1, dtype="float32"),
        device="cpu",
    )
    found, regions = Archive(tmp_path / "cams.zip"), Archive(tmp_path / "superpixels.zip")
    assert len(full_cams(found.arrays("c"), (40, 40))) == 0
    for row in rows[:2]:
        image, arrays = read_image(row.image), found.arrays(row.id)
        assert all(array.dtype == np.float32 for name, array in arrays.items() if name != "classes")
        views = [scaled_view(image, scale)[None] for scale in (1.0, 0.5)]
        maps = multi_scale_cams(model, views, image.shape[:2], stride=1)[0][[label - 1 for label in row.labels]]
        if refine == "superpixels":
            maps = average_over_superpixels(maps, regions.labels(row.id))
        expected = maps / (maps.amax(dim=(1, 2), keepdim=True) + 1e-5)
        np.testing.assert_allclose(full_cams(arrays, image.shape[:2]), expected, atol=1e-5)
        if refine == "none":  # the terms, and not the map
            assert sum(array.nbytes for name, array in arrays.items() if "scale" in name) < expected.nbytes / 10
