import numpy as np
import pytest

from ssc import archive
from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.runtime.files import read_json, read_table, write_json
from ssc.stages.seeds import count_seeds, score_images, summarise_seeds
from ssc.workflow.settings import Seeds

CLASSES = 3
SETTINGS = Seeds(thresholds=[0.05, 0.3, 0.55, 0.8, 0.99], threshold=0.3)
MASK_SIZES = {"a": (32, 48), "b": (29, 35)}


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
    thresholds = SETTINGS.thresholds
    shards = [tmp_path / f"{k}.json" for k in (1, 2, 3)]
    for k, output in enumerate(shards, start=1):
        count_seeds(index=index, shard=f"{k}-of-3", cams=cams, masks=masks, output=output, settings=SETTINGS)
    summarise_seeds(index=index, shards=shards, output=tmp_path / "seeds.json", regions=tmp_path / "regions.tsv")
    result = read_json(tmp_path / "seeds.json")

    curve = []
    for threshold in thresholds:
        pixels = []
        for name in MASK_SIZES:
            classes, maps = Archive(cams).cams(name)
            target = Archive(masks).labels(name)
            grid = tuple(4 * side for side in maps.shape[1:])
            full = bilinear(maps, grid)
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

    # The regions add up to the figures at the reported threshold.
    regions = read_table(tmp_path / "regions.tsv").astype({"class": int, "intersection": float, "union": float})
    assert regions["id"].unique().tolist() == ["a", "b"]
    sums = regions.groupby("class")[["intersection", "union"]].sum()
    iou = sums["intersection"] / sums["union"]
    assert iou.mean() == pytest.approx(result["at_fixed_threshold"]["miou"])
    assert result["at_fixed_threshold"]["boundary"] > 0


def test_an_automatic_threshold_is_reported_at_the_nearest_of_the_sweep(seeds, tmp_path):
    index, cams, masks = seeds
    write_json(tmp_path / "threshold.json", {"threshold": 0.52})
    count_seeds(
        index=index, shard="1-of-1", cams=cams, masks=masks, output=tmp_path / "counts.json",
        settings=Seeds(thresholds=[0.1, 0.4, 0.8], threshold="auto"), cam_threshold=tmp_path / "threshold.json",
    )  # fmt: skip
    files = {"output": tmp_path / "seeds.json", "regions": tmp_path / "regions.tsv"}
    summarise_seeds(index=index, shards=[tmp_path / "counts.json"], **files)
    result = read_json(tmp_path / "seeds.json")
    assert result["at_fixed_threshold"]["threshold"] == 0.4
    assert result["at_fixed_threshold"]["miou"] == result["curve"][1]["miou"]
    for setting, name in ((Seeds(threshold=0.5), "number"), (Seeds(threshold="auto"), "auto")):
        score_images(
            index=index, cams=[cams], masks=[masks], output=tmp_path / name, settings=setting,
            cam_threshold=tmp_path / "threshold.json",
        )  # fmt: skip
    assert (tmp_path / "number").read_text() == (tmp_path / "auto").read_text()


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
        settings=Seeds(thresholds=[0.0, 0.5], threshold=0.5),
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
    count_seeds(**shard, output=tmp_path / "counts.json", settings=Seeds(thresholds=[0.1, 0.2]))
    files = {"output": tmp_path / "seeds.json", "regions": tmp_path / "regions.tsv"}
    summarise_seeds(index=index, shards=[tmp_path / "counts.json"], **files)
    result = read_json(tmp_path / "seeds.json")
    assert result["images"] == result["pixels"] == 0
    assert result["miou"] is None and result["at_fixed_threshold"]["threshold"] == 0.2


def test_seeds_of_each_image_at_one_threshold(seeds, tmp_path):
    index, cams, masks = seeds
    score_images(
        index=index, cams=[cams], masks=[masks], output=tmp_path / "images.tsv", settings=Seeds(threshold=0.55)
    )
    expected = {}
    for name in MASK_SIZES:
        classes, maps = Archive(cams).cams(name)
        target = Archive(masks).labels(name)
        full = bilinear(maps, tuple(4 * side for side in maps.shape[1:]))
        iou = []
        found = np.zeros(target.shape, int)
        for y, x in np.ndindex(target.shape):
            found[y, x] = [0, *classes][int(np.argmax([0.55, *full[:, y, x]]))]
        for label in (0, *classes):
            own, seed = (target == label) & (target != 255), (found == label) & (target != 255)
            iou.append((own & seed).sum() / (own | seed).sum())
        expected[name] = 100 * np.mean(iou)
    table = read_table(tmp_path / "images.tsv")
    assert dict(zip(table["id"], table["miou"].astype(float), strict=True)) == pytest.approx(expected, abs=0.2)


def test_seeds_of_maps_at_the_size_of_the_photo_are_reported_beside_those_of_stride_4(seeds, tmp_path):
    index, cams, masks = seeds
    rng, settings = np.random.default_rng(7), Seeds(thresholds=[0.3, 0.6], threshold=0.3)

    def evaluated(name, change):
        with archive.write(tmp_path / f"{name}.zip") as writer:
            for row in read_index(index).split("train"):
                arrays = change(Archive(cams).arrays(row.id), read_image(row.image).shape[:2])
                writer.add_arrays(row.id, **arrays)
        shards = [tmp_path / f"{name}-{k}.json" for k in (1, 2)]
        for k, output in enumerate(shards, start=1):
            shard = {"index": index, "shard": f"{k}-of-2", "cams": tmp_path / f"{name}.zip", "masks": masks}
            count_seeds(**shard, output=output, settings=settings)
        summarise_seeds(index=index, shards=shards, output=tmp_path / f"{name}.json", regions=tmp_path / "regions.tsv")
        return read_json(tmp_path / f"{name}.json")

    full = {row.id: rng.random((len(row.labels), 48, 48), np.float32) for row in read_index(index).split("train")}
    names = iter("abc")
    both = evaluated("both", lambda arrays, size: {**arrays, "high_res": full[next(names)][:, : size[0], : size[1]]})
    coarse = evaluated("coarse", lambda arrays, size: arrays)
    assert "at_stride_4" not in coarse
    assert {key: coarse[key] for key in ("miou", "threshold", "iou", "pixels")}.items() <= both["at_stride_4"].items()
    assert both["miou"] != coarse["miou"]
    names = iter("abc")
    enlarged = evaluated("same", lambda arrays, size: {**arrays, "cams": full[next(names)][:, 2::4, 2::4]})
    assert both["miou"] == pytest.approx(enlarged["miou"], abs=0.1)  # by the maps at the photo's size
