"""The rule `verdict`: what a run shows of its quality without masks, as figures and by photo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssc.archive import Archive
from ssc.data.index import Row, read_index
from ssc.metrics import confusion, summary
from ssc.report.verdict import judge, light_of
from ssc.runtime.files import read_json, write_json
from ssc.runtime.progress import track

# A photo shows a class that takes more of its area: 14 x 14 pixels of 500 x 375. Less is not seen, and any map has it.
_SPECK = 0.001
# A CAM, in 0..1, that rises no further above its own lowest value puts no pixel of the photo before another.
_FLAT = 0.05
# Share of pixels from which on two maps of a photo are worth a look.
_DIFFERENT = 0.25


@dataclass
class Measures:
    """What is counted of N photos and C classes.

    Attributes:
        rows: the photos.
        labelled: bool (N, C), the classes of their labels.
        flat: bool (N, C), which of these have a CAM that is empty or the same everywhere; None without CAMs.
        areas: by `pseudo_labels` and `predictions`, float (N, C + 1): shares of the pixels that the map decides.
        counts: int64 (C + 1, C + 1), pixels by pseudo-label and prediction of photos that have both; None without.
        different: float (N,), the share of these pixels in which the two differ; 0 without both.
    """

    rows: Sequence[Row]
    labelled: np.ndarray
    flat: np.ndarray | None
    areas: dict[str, np.ndarray]
    counts: np.ndarray | None
    different: np.ndarray


def write_verdict(
    *,
    index: str | Path,
    split: str,
    cross_validation: str | Path | None,
    scores: str | Path | None,
    cams: Sequence[str | Path],
    pseudo_labels: Sequence[str | Path],
    predictions: Sequence[str | Path],
    pretrained: bool,
    output: str | Path,
) -> None:
    """Write the verdict on a run as JSON. Masks take no part.

    `light` is the worst of `reasons` (`ssc.report.verdict.Reason`), which come worst first. `figures` has these parts,
    each with the `split` and the number of `photos` that it is of, and leaves out what the run does not make:

    - `classifier`: `guessing` of `ssc.stages.classifier_scores`, and whether it is `cross_validated`;
    - `cams`: number of `cams`, and of those that are `flat`, in all and by class;
    - `pseudo_labels` and `predictions`, of photos with labels, or of all where none has: how many maps are of
      `one_colour`, and of these how many `background`; of how many photos a map of several colours is `lacking` a class
      of their labels, and of how many any map shows a `foreign` one; by class the `photos` labelled with it, the number
      of maps that have it (`shown`), and its mean `area` in the photos labelled with it, 0..1; None where no photo has
      labels;
    - `agreement` of pseudo-labels and predictions, on the photos that have both: `miou` and share of `pixels`, 0..1.

    `photos` has those with a fault, by id: `suspicion` in 0..1 is the largest of the shares that belong to the texts
    of `why`: 1 for a map of one colour, the share of the labels whose CAMs are flat or that a map lacks, that of the
    area where a map shows classes which are no labels, that of the pixels in which pseudo-label and prediction differ.
    They are those of the split `photos_of`: training photos, or where these have neither CAMs nor pseudo-labels the
    predicted ones.

    Args:
        index: the index.
        split: split of the predictions.
        cross_validation: what `ssc.stages.cross_validation` wrote; None where the run does not make it.
        scores: what `ssc.stages.classifier_scores` wrote, which counts where that says nothing; None where no
            classifier is used.
        cams, pseudo_labels: shard archives of the training photos; none where the run does not make them.
        predictions: shard archives of the predicted photos.
        pretrained: see `ssc.report.verdict.judge`.
        output: JSON file to write.
    """
    table = read_index(index)
    classes, maps = table.classes, {"pseudo_labels": Archive(*pseudo_labels)} if pseudo_labels else {}
    predicted = {"predictions": Archive(*predictions)}
    seen = {}
    if cams or pseudo_labels:
        own = Archive(*cams) if cams else None
        seen["train"] = measure(table.split("train"), len(classes), own, maps | (predicted if split == "train" else {}))
    if split not in seen:
        seen[split] = measure(table.split(split), len(classes), None, predicted)
    figures = {}
    for file in filter(None, (cross_validation, scores)):
        told = read_json(file)
        if told["guessing"]:
            own = {"split": told["split"], "photos": told["images"], "cross_validated": file == cross_validation}
            figures["classifier"] = own | told["guessing"]
            break
    for part, measures in seen.items():
        found = {
            "cams": cam_figures(measures, classes),
            **{name: map_figures(areas, measures.labelled, classes) for name, areas in measures.areas.items()},
            "agreement": agreement_figures(measures, classes),
        }
        figures |= {name: {"split": part, **own} for name, own in found.items() if own}
    part, measures = next(iter(seen.items()))
    reasons = judge(figures, pretrained=pretrained)
    write_json(
        output,
        {
            "light": light_of(reasons),
            "reasons": [reason._asdict() for reason in reasons],
            "figures": figures,
            "photos_of": part,
            "photos": suspicions(measures, classes),
        },
    )


def measure(rows: Sequence[Row], num_classes: int, cams: Archive | None, maps: Mapping[str, Archive]) -> Measures:
    """Count photos one after the other.

    Args:
        rows: the photos.
        num_classes: C.
        cams: their CAMs; None where there are none.
        maps: their label maps by name, `pseudo_labels` and `predictions` or one of them.
    """
    labelled = np.zeros((len(rows), num_classes), bool)
    flat = np.zeros_like(labelled) if cams else None
    areas = {name: np.zeros((len(rows), num_classes + 1), np.float32) for name in maps}
    counts = np.zeros((num_classes + 1, num_classes + 1), np.int64) if len(maps) == 2 else None
    different = np.zeros(len(rows))
    for number, row in enumerate(track(rows, "verdict")):
        labelled[number, [label - 1 for label in row.labels]] = True
        if cams and row.labels:
            own, values = cams.cams(row.id)
            flat[number, own - 1] = np.ptp(values, axis=(1, 2)) < _FLAT
        found = {name: archive.labels(row.id) for name, archive in maps.items()}
        for name, labels in found.items():
            pixels = np.bincount(labels.ravel(), minlength=num_classes + 1)[: num_classes + 1]
            areas[name][number] = pixels / max(1, pixels.sum())
        if counts is not None:
            pairs = confusion(found["pseudo_labels"], found["predictions"], num_classes=num_classes + 1)
            counts += pairs
            different[number] = (pairs.sum() - np.trace(pairs)) / max(1, pairs.sum())
    return Measures(rows, labelled, flat, areas, counts, different)


def faults(areas: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is wrong with label maps.

    Args:
        areas: (N, C + 1), shares of the pixels.
        labelled: bool (N, C); photos without a label take no part, unless all are.

    Returns:
        bool (N,), the map is of one colour; (N, C), a map of several colours lacks a class of the labels; (N, C), it
        shows a class that is none.
    """
    known = labelled.any(axis=1)
    shown = areas[:, 1:] > _SPECK
    one_colour = (areas.max(axis=1) >= 1 - _SPECK) & (known | ~known.any())
    return one_colour, labelled & ~shown & ~one_colour[:, None], shown & ~labelled & known[:, None]


def cam_figures(measures: Measures, classes: Sequence[str]) -> dict | None:
    """The part `cams` of the figures; None without CAMs."""
    labelled, flat = measures.labelled, measures.flat
    if flat is None or not labelled.any():
        return None
    return {
        "photos": int(labelled.any(axis=1).sum()),
        "cams": int(labelled.sum()),
        "flat": int(flat.sum()),
        "classes": {
            name: {"cams": int(labelled[:, k].sum()), "flat": int(flat[:, k].sum())} for k, name in enumerate(classes)
        },
    }


def map_figures(areas: np.ndarray, labelled: np.ndarray, classes: Sequence[str]) -> dict:
    """The part `pseudo_labels` or `predictions` of the figures.

    Args:
        areas: (N, C + 1), shares of the pixels.
        labelled: bool (N, C).
        classes: names of the C classes.
    """
    known = labelled.any(axis=1)
    one_colour, lacking, foreign = faults(areas, labelled)
    shown = areas[:, 1:] > _SPECK

    def of_labels(value: int | float) -> int | float | None:
        return value if known.any() else None

    def of_class(k: int) -> dict:
        own = labelled[:, k]
        area = float(areas[own, k + 1].mean()) if own.any() else None
        return {"photos": of_labels(int(own.sum())), "shown": int(shown[:, k].sum()), "area": area}

    return {
        "photos": int(known.sum()) or len(areas),
        "one_colour": int(one_colour.sum()),
        "background": int((one_colour & (areas.argmax(axis=1) == 0)).sum()),
        "lacking": of_labels(int(lacking.any(axis=1).sum())),
        "foreign": of_labels(int(foreign.any(axis=1).sum())),
        "classes": {name: of_class(k) for k, name in enumerate(classes)},
    }


def agreement_figures(measures: Measures, classes: Sequence[str]) -> dict | None:
    """The part `agreement` of the figures; None where no pixel has both labels."""
    counts = measures.counts
    if counts is None or not counts.any():
        return None
    miou = summary(counts, classes)["miou"]
    return {"photos": len(measures.rows), "miou": miou, "pixels": float(np.trace(counts) / counts.sum())}


def suspicions(measures: Measures, classes: Sequence[str]) -> dict[str, dict]:
    """By id, the photos that something is wrong with; see `write_verdict`."""
    maps = {
        title: (areas, *faults(areas, measures.labelled))
        for name, title in (("pseudo_labels", "pseudo-label"), ("predictions", "prediction"))
        if (areas := measures.areas.get(name)) is not None
    }
    colours = ["background", *classes]

    def named(chosen: np.ndarray) -> str:
        return ", ".join(classes[k] for k in np.flatnonzero(chosen))

    found = {}
    for number, row in enumerate(measures.rows):
        why = {}
        if measures.flat is not None and (flat := measures.flat[number]).any():
            why[f"empty or flat CAM: {named(flat)}"] = flat.sum() / len(row.labels)
        for title, (areas, one_colour, lacking, foreign) in maps.items():
            if one_colour[number]:
                why[f"the {title} is {colours[areas[number].argmax()]} alone"] = 1.0
            if lacking[number].any():
                why[f"the {title} lacks {named(lacking[number])}"] = lacking[number].sum() / len(row.labels)
            if foreign[number].any():
                text = f"the {title} shows {named(foreign[number])}, not among the labels"
                why[text] = areas[number, 1:][foreign[number]].sum()
        if (share := measures.different[number]) >= _DIFFERENT:
            why[f"pseudo-label and prediction differ in {share:.0%} of the pixels"] = share
        if why:
            found[row.id] = {"suspicion": round(float(max(why.values())), 3), "why": [*why]}
    return found
