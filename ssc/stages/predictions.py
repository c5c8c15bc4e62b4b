"""The rule `predictions`: label maps of one shard of the predicted photos, after each test-time step."""

from functools import partial
from pathlib import Path

import numpy as np

from ssc import archive
from ssc.data.index import Row, read_index
from ssc.models.deeplab import load_networks
from ssc.models.weights import network_words
from ssc.prediction import batch_probabilities, photo_views, refined_labels
from ssc.runtime.device import select_device, select_precision
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track
from ssc.stages.batching import Photo, infer, pixel_budget, stack_views
from ssc.workflow import cache
from ssc.workflow.provenance import fingerprint
from ssc.workflow.settings import Prediction


def write_predictions(
    *,
    index: str | Path,
    split: str,
    shard: str,
    weights: str | Path,
    output: str | Path,
    steps: str | Path,
    settings: Prediction,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 1,
) -> None:
    """Predict one shard of a split into archives of palette PNGs.

    Args:
        index, split, shard: the images.
        weights: weight file with the part `segmentation`, and `segmentation_2` of a co-trained pair.
        output: archive to write: the predictions `<id>.png`.
        steps: archive to write: what the steps before the last gave, as `<step>/<id>.png`.
        settings: the section `prediction`.
        device, precision: see the config.
        threads: photos read, and results refined and compressed, at the same time.
    """
    device = select_device(device)
    precision = select_precision(precision, device)
    networks = load_networks(weights, device=device)
    options = {"scales": settings.scales, "flip": settings.flip, "how": settings.fuse, "precision": precision}

    def predict(photos: list[Photo]) -> list[tuple[Row, np.ndarray, list[np.ndarray], np.ndarray | None]]:
        found = batch_probabilities(networks, stack_views(photos, device), size=photos[0].image.shape[:2], **options)
        results = []
        for photo, scores in zip(photos, found, strict=True):
            labels = [each.argmax(dim=0).cpu().numpy() for each in scores]
            results.append((photo.row, photo.image, labels, scores[-1].cpu().numpy() if settings.crf.enabled else None))
        return results

    def encode(predicted: tuple[Row, np.ndarray, list[np.ndarray], np.ndarray | None]) -> tuple[Row, list[bytes]]:
        row, image, labels, scores = predicted
        if scores is not None:
            labels.append(refined_labels(image, scores, settings.crf.options(), colours=settings.crf.colours))
        return row, [archive.encode_labels(each) for each in labels]

    rows = read_index(index).shard(split, shard)
    *early, _ = settings.steps()
    names = {row.id: [f"{step}/{row.id}.png" for step in early] for row in rows}
    own = fingerprint(__name__, settings, {"precision": precision}, files=[weights], words=network_words(weights))
    keys = {f"{row.id}.png": row.key for row in rows}
    early_keys = {name: row.key for row in rows for name in names[row.id]}
    with (
        cache.resume(output, fingerprint=own, keys=keys) as out,
        cache.resume(steps, fingerprint=own, keys=early_keys) as before,
    ):
        rows = [row for row in rows if f"{row.id}.png" not in out or any(name not in before for name in names[row.id])]
        views = partial(photo_views, scales=settings.scales, square=settings.square)
        found = infer(predict, rows, views, pixels=pixel_budget(device), threads=threads)
        for row, maps in track(parallel_map(encode, found, threads), f"predictions {shard}", len(rows)):
            out.add_bytes(f"{row.id}.png", maps[-1])
            for name, data in zip(names[row.id], maps[:-1], strict=True):
                before.add_bytes(name, data)
