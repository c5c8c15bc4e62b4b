"""The rules `count_seeds` and `evaluate_seeds`: mIoU of what a background threshold makes of the CAMs."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ssc.archive import Archive
from ssc.data.index import Row, read_index
from ssc.interop.folders import Arrays
from ssc.metrics import confusion, image_miou, summary, threshold_counts
from ssc.regions import region_counts
from ssc.runtime.files import read_json, write_json
from ssc.runtime.progress import track
from ssc.seeds import strongest_class
from ssc.stages.cam_threshold import settle
from ssc.stages.evaluate import as_lists, summarise_regions, write_image_miou
from ssc.workflow.settings import Seeds


def count_seeds(
    *,
    index: str | Path,
    shard: str,
    cams: str | Path,
    masks: str | Path,
    output: str | Path,
    settings: Seeds,
    cam_threshold: str | Path | None = None,
) -> None:
    """Confusion matrices of the seeds of one shard over a sweep of background thresholds, and the
    `ssc.regions.region_counts` of each image at the reported threshold, as JSON.

    A pixel takes the present class with the largest CAM where that exceeds the threshold, else background. Images
    without a mask take no part. Where there are maps at the size of the photo (`cams.stride: 1`), the matrices of those
    at stride 4 are written as well, as `stride_4`.

    Args:
        index, shard: the images.
        cams, masks: the shard's archives.
        output: JSON file to write.
        settings: the section `seeds`.
        cam_threshold: see `ssc.stages.cam_threshold.settle`.
    """
    table = read_index(index)
    thresholds = np.asarray(settings.thresholds, np.float64)
    reported = _reported(settings, cam_threshold)
    count = partial(threshold_counts, num_classes=table.num_classes + 1, thresholds=thresholds)
    counts = coarse = np.zeros((len(thresholds), table.num_classes + 1, table.num_classes + 1), np.int64)
    regions, both = {}, False
    rows = track(table.shard("train", shard), f"seeds {shard}")
    for row, target, arrays in _masked(rows, Archive(cams), Archive(masks)):
        best, score = _strongest(arrays, target.shape)
        own = count(target, best, score)
        counts = counts + own
        regions[row.id] = as_lists(region_counts(target, np.where(score > reported, best, 0)))
        enlarged = {name: arrays[name] for name in ("classes", "cams")}
        if arrays.keys() > enlarged.keys():
            both, own = True, count(target, *_strongest(enlarged, target.shape))
        coarse = coarse + own
    found = {"thresholds": settings.thresholds, "reported": reported, "counts": counts.tolist(), "regions": regions}
    write_json(output, found | ({"stride_4": coarse.tolist()} if both else {}))


def score_images(
    *,
    index: str | Path,
    cams: Sequence[str | Path],
    masks: Sequence[str | Path],
    output: str | Path,
    settings: Seeds,
    cam_threshold: str | Path | None = None,
) -> None:
    """Write the mIoU of each training image's seeds at the reported background threshold as a table.

    Args:
        index: the index.
        cams, masks: shard archives of the training split; images without a mask take no part.
        output: TSV to write.
        settings: the section `seeds`.
        cam_threshold: see `ssc.stages.cam_threshold.settle`.
    """
    threshold = _reported(settings, cam_threshold)
    table = read_index(index)
    rows, scores = track(table.split("train"), "seeds by image"), {}
    for row, target, arrays in _masked(rows, Archive(*cams), Archive(*masks)):
        best, score = _strongest(arrays, target.shape)
        seeds = np.where(score > threshold, best, 0)
        scores[row.id] = image_miou(confusion(target, seeds, num_classes=table.num_classes + 1))
    write_image_miou(output, scores)


def _reported(settings: Seeds, cam_threshold: str | Path | None) -> float:
    """The reported threshold: that of the sweep which is nearest to the one that is set, or to the CAMs' own."""
    wanted = settle(settings, cam_threshold).threshold
    return min(settings.thresholds, key=lambda threshold: abs(threshold - wanted))


def _masked(rows: Iterable[Row], cams: Archive, masks: Archive) -> Iterator[tuple[Row, np.ndarray, Arrays]]:
    """Of the images with a mask: the mask (H, W), and the arrays of the CAMs."""
    for row in rows:
        if row.id in masks:
            yield row, masks.labels(row.id), cams.arrays(row.id)


def _strongest(arrays: Arrays, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The class with the largest CAM and that CAM, each (H, W)."""
    from ssc.cams import full_cams  # with PyTorch, which the figures can spare

    return strongest_class(arrays["classes"].astype(np.int64), full_cams(arrays, size))


def summarise_seeds(
    *, index: str | Path, shards: Sequence[str | Path], output: str | Path, regions: str | Path
) -> None:
    """Add the shards' counts up: the mIoU curve over thresholds, its best point, and the reported threshold; the best
    point of the maps at stride 4 as `at_stride_4`, where the seeds are made of others.

    Args:
        index: the index.
        shards: JSON files of `count_seeds`, of all shards.
        output: JSON file to write.
        regions: table of the images' regions at the reported threshold, see `ssc.stages.evaluate.summarise_regions`.
    """
    table = read_index(index)
    parts = [read_json(path) for path in shards]
    thresholds = parts[0]["thresholds"]
    curve = _curve([part["counts"] for part in parts], table.classes)
    best, fixed = _best(curve), thresholds.index(parts[0]["reported"])
    reported = curve[fixed] | summarise_regions(parts, table.split("train"), regions)
    result = {
        "stage": "seeds",
        "split": "train",
        "images": sum(len(part["regions"]) for part in parts),
        "chosen_by_masks": "threshold",
        "threshold": thresholds[best],
        **curve[best],
        "at_fixed_threshold": {"threshold": thresholds[fixed], **reported},
        "curve": [{"threshold": t, "miou": point["miou"]} for t, point in zip(thresholds, curve, strict=True)],
    }
    if any("stride_4" in part for part in parts):
        coarse = _curve([part.get("stride_4", part["counts"]) for part in parts], table.classes)
        result["at_stride_4"] = {"threshold": thresholds[_best(coarse)], **coarse[_best(coarse)]}
    write_json(output, result)


def _curve(parts: Sequence[list], classes: Sequence[str]) -> list[dict]:
    """Figures by threshold of the counts of all shards."""
    return [summary(matrix, classes) for matrix in sum(np.asarray(part, np.int64) for part in parts)]


def _best(curve: Sequence[dict]) -> int:
    return int(np.argmax([point["miou"] if point["miou"] is not None else -1 for point in curve]))
