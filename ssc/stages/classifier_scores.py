"""How well the CAM classifier tells which classes a photo shows: the rules `evaluate_classifier`, `cross_validate`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ssc.data.index import Row, read_index
from ssc.data.transforms import scaled_views
from ssc.metrics import average_precision, guessed_precision
from ssc.models.classifier import CAMClassifier
from ssc.models.weights import load_part
from ssc.runtime.device import autocast, select_device, select_precision
from ssc.runtime.files import write_json
from ssc.runtime.progress import track
from ssc.stages.batching import Photo, infer, pixel_budget, stack_views


def evaluate_classifier(
    *,
    indices: Sequence[str | Path],
    weights: str | Path,
    output: str | Path,
    drs: bool,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 1,
) -> None:
    """Write the average precision of each class, and their mean, over the labelled photos of a split, as JSON.

    A photo's score of a class is the mean of the logits of the photo, at its own size, and of its mirror image.

    Args:
        indices: tables of one split each; the photos of the first that has labelled ones are scored.
        weights: weight file with the part `classifier`.
        output: JSON file with `split`, `images`, `map` and `ap` by class, in 0..1; None where no photo shows a class,
            or none is labelled. `guessing` is beside them, of the `classes` that some of the photos show and others do
            not: their mean `ap` (`map`), the mean of `ssc.metrics.guessed_precision` (`chance`), and what one in twenty
            of its draws exceeds (`luck`); None without such a class.
        drs: keep the suppression in the last stage, as the CAMs do.
        device, precision: see the config.
        threads: photos read at the same time.
    """
    tables = [read_index(index) for index in indices]
    rows = next(filter(None, (labelled(table.rows) for table in tables)), [])
    scores = classifier_scores(rows, weights, drs=drs, device=device, precision=precision, threads=threads)
    classes = tables[0].classes
    write_precision(output, rows, scores, truth_of(rows, len(classes)), classes)


def labelled(rows: Iterable[Row]) -> list[Row]:
    """The photos with labels."""
    return [row for row in rows if row.labels]


def classifier_scores(
    rows: Sequence[Row], weights: str | Path, *, drs: bool, device: str, precision: str, threads: int
) -> np.ndarray:
    """Scores (N, C) of N photos; see `evaluate_classifier`."""
    device = select_device(device)
    precision = select_precision(precision, device)
    model = load_part(weights, "classifier", CAMClassifier, device=device)
    model.drs_at_inference = drs

    @torch.no_grad()
    def score(photos: list[Photo]) -> list[np.ndarray]:
        (view,) = stack_views(photos, device)
        with autocast(device, precision):
            logits, _ = model(torch.cat([view, view.flip(-1)]))
        return list(logits.float().unflatten(0, (2, -1)).mean(dim=0).cpu().numpy())

    views = partial(scaled_views, scales=[1.0])
    found = infer(score, rows, views, pixels=pixel_budget(device), threads=threads)
    return np.array(list(track(found, "classifier", len(rows)))).reshape(len(rows), model.classifier.out_channels)


def truth_of(rows: Sequence[Row], num_classes: int) -> np.ndarray:
    """Which of C classes N photos show by their labels, bool (N, C)."""
    truth = np.zeros((len(rows), num_classes), bool)
    for number, row in enumerate(rows):
        truth[number, [label - 1 for label in row.labels]] = True
    return truth


def write_precision(
    output: str | Path, rows: Sequence[Row], scores: np.ndarray, truth: np.ndarray, classes: Sequence[str]
) -> None:
    """Write the average precision of scores (N, C) of the N labelled photos of a split; see `evaluate_classifier`."""
    ap = {name: average_precision(scores[:, k], truth[:, k]) for k, name in enumerate(classes)}
    known = [value for value in ap.values() if value is not None]
    mean = sum(known) / len(known) if known else None
    split = rows[0].split if rows else None
    write_json(output, {"split": split, "images": len(rows), "map": mean, "ap": ap, "guessing": _guessing(ap, truth)})


def _guessing(ap: Mapping[str, float | None], truth: np.ndarray) -> dict | None:
    """What guessing gives of the classes that are true of some of the photos (N, C) and not of others."""
    told = truth.any(axis=0) & ~truth.all(axis=0)
    if not told.any():
        return None
    names = [name for name, own in zip(ap, told, strict=True) if own]
    guessed = guessed_precision(truth[:, told])
    return {
        "classes": names,
        "map": sum(ap[name] for name in names) / len(names),
        "chance": float(guessed.mean()),
        "luck": float(np.quantile(guessed, 0.95)),
    }
