import numpy as np
import pytest
import torch
from PIL import Image

from ssc import archive
from ssc.archive import Archive
from ssc.cams import average_over_superpixels, extract_cams, multi_scale_cams, read_cams, resize_maps, upsample
from ssc.data.index import read_index
from ssc.data.transforms import read_image, scaled_view
from ssc.runtime.files import read_json
from ssc.models.classifier import CAMClassifier
from ssc.report.ranking import read_scores
from ssc.seeds import count_seeds, score_images, summarise_seeds
from ssc.models.weights import save_weights

CLASSES = 3
MASK_SIZES = {"a": (32, 48), "b": (29, 35)}


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


def test_extracted_cams_are_normalised_maps_of_the_classes_present(model, tiny_set, tmp_path):
    options = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 8}
    save_weights(tmp_path / "w.safetensors", {"classifier": (model, options)})
    settings = {"scales": [1.0, 0.5], "drs": True, "refine": "none"}
    found = {}
    for shard in ("1-of-2", "2-of-2"):
        extract_cams(
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
        raw = cams_of(model, image, settings["scales"]).numpy()
        assert stored["cams"].shape == (len(row.labels), *raw.shape[1:])
        for label, cam in zip(row.labels, stored["cams"], strict=True):
            peak = raw[label - 1].max()
            np.testing.assert_allclose(cam, raw[label - 1] / (peak + 1e-5), atol=1e-3)
            assert cam.min() >= 0 and cam.max() <= 1
            assert peak > 0 and cam.max() > 0.99
        classes, cams = read_cams(found[row.id], row.id)
        assert classes.dtype == np.int64 and cams.dtype == torch.float32
        np.testing.assert_array_equal(cams, stored["cams"].astype(np.float32))


def test_a_silent_class_has_zero_cams_not_nan(tiny_set, tmp_path):
    torch.manual_seed(0)
    silent = CAMClassifier(CLASSES, "tiny", output_stride=8)
    torch.nn.init.zeros_(silent.classifier.weight)
    options = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 8}
    save_weights(tmp_path / "w.safetensors", {"classifier": (silent, options)})
    extract_cams(
        index=tiny_set,
        shard="1-of-1",
        weights=tmp_path / "w.safetensors",
        superpixels=None,
        output=tmp_path / "cams.zip",
        settings={"scales": [1.0], "drs": True, "refine": "none"},
        device="cpu",
    )
    assert (Archive(tmp_path / "cams.zip").arrays("a")["cams"] == 0).all()


# Seeds


@pytest.fixture
def seeds(tiny_set, tmp_path):
    """Random CAMs of all three photos and random masks of `a` and `b`, and what the seed stages make of them."""
    rng = np.random.default_rng(4)
    table = read_index(tiny_set)
    with archive.write(tmp_path / "cams.zip") as cams, archive.write(tmp_path / "masks.zip") as masks:
        for row in table.split("train"):
            height, width = read_image(row.image).shape[:2]
            maps = rng.random((len(row.labels), -(-height // 4), -(-width // 4))).astype(np.float16)
            cams.add_arrays(row.id, classes=np.array(row.labels, np.int16), cams=maps)
            if row.id in MASK_SIZES:
                values = [0, *row.labels, 255]
                masks.add_labels(row.id, rng.choice(values, (height, width)))
    return tiny_set, tmp_path / "cams.zip", tmp_path / "masks.zip"


def miou_by_sets(pixels: list[tuple[int, int]]) -> float:
    """mIoU of (target, seed) pairs."""
    values = []
    for label in range(CLASSES + 1):
        union = sum(label in pair for pair in pixels)
        if union:
            values.append(sum(pair == (label, label) for pair in pixels) / union)
    return sum(values) / len(values)


def test_seeds_equal_an_argmax_per_threshold(seeds, tmp_path):
    index, cams, masks = seeds
    thresholds = [0.05, 0.3, 0.55, 0.8, 0.99]
    shards = [tmp_path / f"{k}.json" for k in (1, 2, 3)]
    for k, output in enumerate(shards, start=1):
        count_seeds(index=index, shard=f"{k}-of-3", cams=cams, masks=masks, output=output, thresholds=thresholds)
    summarise_seeds(index=index, shards=shards, output=tmp_path / "seeds.json", threshold=0.3)
    result = read_json(tmp_path / "seeds.json")

    curve = []
    for threshold in thresholds:
        pixels = []
        for name in MASK_SIZES:
            classes, maps = read_cams(Archive(cams), name)
            target = Archive(masks).labels(name)
            grid = tuple(4 * side for side in maps.shape[1:])
            full = bilinear(maps.numpy(), grid)
            for y, x in np.ndindex(target.shape):
                scores = [threshold, *full[:, y, x]]
                if target[y, x] != 255:
                    pixels.append((int(target[y, x]), int([0, *classes][int(np.argmax(scores))])))
        curve.append(miou_by_sets(pixels))
    best = int(np.argmax(curve))
    assert len({round(value, 6) for value in curve}) == len(curve)
    assert [point["threshold"] for point in result["curve"]] == thresholds
    np.testing.assert_allclose([point["miou"] for point in result["curve"]], curve, atol=1e-3)
    assert result["threshold"] == thresholds[best]
    assert result["miou"] == result["curve"][best]["miou"] == max(point["miou"] for point in result["curve"])
    assert result["at_fixed_threshold"]["threshold"] == 0.3
    assert result["at_fixed_threshold"]["miou"] == result["curve"][1]["miou"]
    assert (result["stage"], result["split"], result["images"]) == ("seeds", "train", 2)
    counted = sum(int((Archive(masks).labels(name) != 255).sum()) for name in MASK_SIZES)
    assert result["pixels"] == result["at_fixed_threshold"]["pixels"] == counted
    assert list(result["iou"]) == ["background", "orbi", "quado", "trixi"]


def test_seeds_of_photos_without_labels_are_background(seeds, tmp_path):
    index, cams, _ = seeds
    with archive.write(tmp_path / "masks.zip") as masks:
        masks.add_labels("c", np.tile([0, 2], (20, 12)))
    count_seeds(
        index=index,
        shard="1-of-1",
        cams=cams,
        masks=tmp_path / "masks.zip",
        output=tmp_path / "counts.json",
        thresholds=[0.0, 0.5],
    )
    counts = np.array(read_json(tmp_path / "counts.json")["counts"])
    expected = np.zeros((2, 4, 4), int)
    expected[:, 0, 0] = expected[:, 2, 0] = 240
    np.testing.assert_array_equal(counts, expected)


def test_seeds_without_any_mask_have_no_figures(seeds, tmp_path):
    index, cams, _ = seeds
    with archive.write(tmp_path / "masks.zip"):
        pass
    shard = {"index": index, "shard": "1-of-1", "cams": cams, "masks": tmp_path / "masks.zip"}
    count_seeds(**shard, output=tmp_path / "counts.json", thresholds=[0.1, 0.2])
    summarise_seeds(index=index, shards=[tmp_path / "counts.json"], output=tmp_path / "seeds.json", threshold=0.2)
    result = read_json(tmp_path / "seeds.json")
    assert result["images"] == result["pixels"] == 0
    assert result["miou"] is None and result["at_fixed_threshold"]["threshold"] == 0.2


def test_seeds_of_each_image_at_one_threshold(seeds, tmp_path):
    index, cams, masks = seeds
    score_images(index=index, cams=[cams], masks=[masks], output=tmp_path / "images.tsv", threshold=0.55)
    expected = {}
    for name in MASK_SIZES:
        classes, maps = read_cams(Archive(cams), name)
        target = Archive(masks).labels(name)
        full = bilinear(maps.numpy(), tuple(4 * side for side in maps.shape[1:]))
        iou = []
        found = np.zeros(target.shape, int)
        for y, x in np.ndindex(target.shape):
            found[y, x] = [0, *classes][int(np.argmax([0.55, *full[:, y, x]]))]
        for label in (0, *classes):
            own, seed = (target == label) & (target != 255), (found == label) & (target != 255)
            iou.append((own & seed).sum() / (own | seed).sum())
        expected[name] = 100 * np.mean(iou)
    assert read_scores(tmp_path / "images.tsv") == pytest.approx(expected, abs=0.2)


def test_drs_can_be_left_out_of_the_extraction(tiny_set, tmp_path):
    torch.manual_seed(0)
    options = {"num_classes": 3, "backbone": "tiny", "output_stride": 8, "drs": True}
    save_weights(tmp_path / "classifier.safetensors", {"classifier": (CAMClassifier(**options), options)})
    found = []
    for drs in (True, False):
        extract_cams(
            index=tiny_set,
            shard="1-of-1",
            weights=tmp_path / "classifier.safetensors",
            superpixels=None,
            output=tmp_path / f"{drs}.zip",
            settings={"scales": [1.0], "drs": drs, "refine": "none"},
        )
        found.append((tmp_path / f"{drs}.zip").read_bytes())
    assert found[0] != found[1]


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
    np.testing.assert_allclose(average_over_superpixels(cams, regions), expected, rtol=1e-5)


def test_cams_are_averaged_over_superpixels_before_they_are_normalised(tiny_set, tmp_path, model):
    options = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 8}
    save_weights(tmp_path / "w.safetensors", {"classifier": (model, options)})
    rows = read_index(tiny_set).split("train")
    with archive.write(tmp_path / "superpixels.zip") as writer:
        for row in rows:
            height, width = read_image(row.image).shape[:2]
            writer.add_labels(row.id, np.arange(height)[:, None] // 8 * 8 + np.arange(width) // 8)
    for refine in ("none", "superpixels"):
        extract_cams(
            index=tiny_set,
            shard="1-of-1",
            weights=tmp_path / "w.safetensors",
            superpixels=tmp_path / "superpixels.zip",
            output=tmp_path / f"cams_{refine}.zip",
            settings={"scales": [1.0], "drs": True, "refine": refine},
            device="cpu",
        )
    plain, refined = Archive(tmp_path / "cams_none.zip"), Archive(tmp_path / "cams_superpixels.zip")
    regions = Archive(tmp_path / "superpixels.zip")
    assert refined.arrays("c")["cams"].shape[0] == 0
    for row in rows[:2]:
        own = torch.from_numpy(plain.arrays(row.id)["cams"].astype(np.float32))
        means = average_over_superpixels(own, regions.labels(row.id))
        expected = means / means.amax(dim=(1, 2), keepdim=True).clamp(min=1e-4)
        np.testing.assert_allclose(refined.arrays(row.id)["cams"], expected, atol=3e-3)
