"""The ablation table: seeds of experiments over several random seeds, beside the paper's Tables VII and VIII."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from ssc.regions import bootstrap_interval
from ssc.report.paper import ablation_value
from ssc.report.text import as_text, to_markdown
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, read_table, write_table, write_text

Stages = Mapping[str, Mapping[str, Sequence[str | Path]]]

_BASELINE = "baseline"
_MEASURES = [
    "miou",
    "gain",
    "at_threshold",
    "over_activation",
    "under_activation",
    "map",
    "pseudo_labels",
    "segmentation",
]
_FORMATS = {
    "seeds": ".0f",
    **{f"{measure}{what}": ".2f" for measure in _MEASURES for what in ("", "_std")},
    "paper_miou": ".1f", "difference": "+.2f", "paper_gain": "+.1f",
}  # fmt: skip
_HEADINGS = {
    "experiment": "experiment", "seeds": "seeds", "miou": "mIoU", "gain": "gain over baseline",
    "at_threshold": "at the reported threshold", "over_activation": "over-activation",
    "under_activation": "under-activation", "map": "mAP on val", "pseudo_labels": "pseudo-labels",
    "segmentation": "segmentation", "paper_table": "paper: table",
    "paper_miou": "paper: mIoU", "difference": "difference", "paper_gain": "paper: gain",
}  # fmt: skip
_NOTE = (
    "mIoU of seeds (CAMs at their best threshold) on training images, in percent: mean ± standard deviation over\n"
    "random seeds. Gain: difference to the baseline of the same random seed. Over-activation: background called\n"
    "foreground; under-activation: foreground called background. Reported threshold: seeds.threshold, with auto each\n"
    "run's own, which no mask of these photos chose. mAP: of the classifier, over the labelled photos of val.\n"
    "Pseudo-labels: on training images; segmentation: on prediction.split. The paper's values are those of VOC 2012."
)
_PARTS = ["miou", "gain", "boundary", "small", "medium", "large"]
_PART_FORMATS = {
    "seeds": ".0f", "gain_low": "+.2f", "gain_high": "+.2f",
    **{f"{part}{what}": ".2f" for part in _PARTS for what in ("", "_std")},
}  # fmt: skip
_PART_HEADINGS = {
    "experiment": "experiment", "stage": "stage", "seeds": "seeds", "miou": "mIoU", "gain": "gain over baseline",
    "interval": "95 % over photos", "boundary": "boundary IoU", "small": "small", "medium": "medium", "large": "large",
}  # fmt: skip
_PART_NOTE = (
    "Stage by stage, seeds at the reported threshold. 95 %: where the gain lies if the photos are drawn anew, with\n"
    "replacement, the same for both. Boundary IoU: background and classes, within 2 % of the diagonal of a region's\n"
    "edge (Cheng et al. 2021). Small, medium, large: classes alone, in photos where they take up to 5 %, 25 %, more."
)


class Counts(NamedTuple):
    """What mean IoU adds up: (images, classes) of the images by their ids."""

    images: list[str]
    intersection: csr_array
    union: csr_array


def read_seed_figures(path: str | Path) -> dict:
    """Figures of one experiment's seeds, at their best threshold.

    Args:
        path: JSON file of `ssc.stages.seeds.summarise_seeds`.

    Raises:
        InputError: no training image had a mask.
    """
    figures = read_json(path)
    if figures["miou"] is None:
        raise InputError(f"{path} measured nothing: no training image has a mask, which an ablation needs.")
    return figures


def write_ablation(
    *,
    experiments: Mapping[str, Stages],
    classifiers: Mapping[str, Sequence[str | Path]],
    table: str | Path,
    stages: str | Path,
    markdown: str | Path,
    dataset: str,
) -> None:
    """Write mean and standard deviation of every experiment, and of every stage of it, in percent, as two TSVs and as
    Markdown.

    `gain` is the mean difference to the experiment `baseline` (where there is one) of the same random seed, so that
    what a seed does to all experiments cancels out. Standard deviations are those of a sample (n - 1) and left empty
    for a single seed.

    Args:
        experiments: by name and stage (`seeds`, maybe `pseudo_labels` and `segmentation`), JSON files of the `figures`
            (`ssc.stages.seeds.summarise_seeds`, `ssc.stages.evaluate.summarise_labels`) and tables of the `regions` of
            the images (`ssc.stages.evaluate.summarise_regions`), one per random seed and in the same order for all.
        classifiers: by name, likewise the JSON files of the classifiers (`ssc.stages.classifier_scores`); none where
            CAMs stand ready.
        table: TSV of the experiments to write.
        stages: TSV of their stages to write.
        markdown: Markdown to write; it leaves out columns that are empty.
        dataset: name of the data set, for the heading.

    Raises:
        InputError: no training image had a mask.
    """
    rows = as_text(_summarise(_measure(experiments, classifiers)), _FORMATS)
    parts = as_text(_by_stage(experiments), _PART_FORMATS)
    write_table(table, rows)
    write_table(stages, parts)
    for frame, measures in ((rows, _MEASURES), (parts, _PARTS)):
        for measure in measures:
            deviation = frame[f"{measure}_std"]
            frame[measure] += (" ± " + deviation).where(deviation != "", "")
    parts["interval"] = (parts["gain_low"] + " to " + parts["gain_high"]).where(parts["gain_low"] != "", "")
    texts = [_markdown(rows, _HEADINGS, words=1), _markdown(parts, _PART_HEADINGS, words=2)]
    write_text(markdown, f"# Ablation on {dataset}\n\n{_NOTE}\n\n{texts[0]}\n\n{_PART_NOTE}\n\n{texts[1]}\n")


def _markdown(rows: pd.DataFrame, headings: Mapping[str, str], *, words: int) -> str:
    filled = {name: heading for name, heading in headings.items() if (rows[name] != "").any()}
    return to_markdown(rows[[*filled]].rename(columns=filled), words=words)


def _measure(experiments: Mapping[str, Stages], classifiers: Mapping[str, Sequence]) -> pd.DataFrame:
    """A row per experiment and random seed: `_MEASURES` in percent."""
    read = []
    for name, stages in experiments.items():
        later = {stage: files["figures"] for stage, files in stages.items() if stage != "seeds"}
        for number, (path, scores) in enumerate(zip_longest(stages["seeds"]["figures"], classifiers[name])):
            figures = read_seed_figures(path)
            fixed = {"at_threshold": figures["at_fixed_threshold"]["miou"], "map": scores and _map_on_val(scores)}
            after = {stage: read_json(files[number])["miou"] for stage, files in later.items()}
            read.append({"experiment": name, "number": number, **figures, **fixed, **after})
    found = pd.DataFrame(read, columns=["experiment", "number", *_MEASURES])
    found[_MEASURES] = 100 * found[_MEASURES].astype(float)
    found["gain"] = _gain(found, ["number"])
    return found


def _map_on_val(scores: str | Path) -> float | None:
    """The classifier's mAP; None where no photo of val has labels, so that training photos were scored."""
    found = read_json(scores)
    return found["map"] if found["split"] == "val" else None


def _gain(found: pd.DataFrame, pair: list[str]) -> pd.Series:
    """Difference of mIoU to the baseline's row that agrees in the columns `pair`; missing for the baseline itself."""
    is_baseline = found["experiment"] == _BASELINE
    baseline = found[is_baseline].set_index(pair)["miou"].rename("other")
    return (found["miou"] - found.join(baseline, on=pair)["other"]).mask(is_baseline)


def _spread(measures: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Mean and deviation of the measures, as `DataFrame.agg` takes them."""
    return {f"{measure}{end}": (measure, how) for measure in measures for end, how in (("", "mean"), ("_std", "std"))}


def _summarise(found: pd.DataFrame) -> pd.DataFrame:
    """A row per experiment: mean and deviation of its measures, beside what the paper reports."""
    rows = found.groupby("experiment", sort=False, as_index=False).agg(seeds=("miou", "size"), **_spread(_MEASURES))
    paper = [ablation_value(name) or (None, None) for name in rows["experiment"]]
    rows[["paper_table", "paper_miou"]] = pd.DataFrame(paper, columns=["table", "miou"]).astype({"miou": float})
    rows["difference"] = rows["miou"] - rows["paper_miou"]
    gain = rows["paper_miou"] - ablation_value(_BASELINE)[1]
    rows["paper_gain"] = gain.mask(rows["experiment"] == _BASELINE)
    return rows


def _by_stage(experiments: Mapping[str, Stages]) -> pd.DataFrame:
    """A row per experiment and stage: mean and deviation of `_PARTS` over the random seeds, in percent."""
    read = []
    for name, stages in experiments.items():
        for stage, files in stages.items():
            for number, path in enumerate(files["figures"]):
                figures = read_json(path)
                own = {"experiment": name, "stage": stage, "number": number}
                read.append({**figures, **figures.get("at_fixed_threshold", {}), **own})
    found = pd.DataFrame(read, columns=["experiment", "stage", "split", "number", *_PARTS])
    found[_PARTS] = 100 * found[_PARTS].astype(float)
    found["gain"] = _gain(found, ["stage", "split", "number"])
    by_stage = found.groupby(["experiment", "stage"], sort=False, as_index=False)
    rows = by_stage.agg(seeds=("miou", "size"), **_spread(_PARTS))
    base = {stage: _counts(files["regions"]) for stage, files in experiments.get(_BASELINE, {}).items()}
    limits = [
        _interval(experiments[name][stage]["regions"], base.get(stage, []) if name != _BASELINE else [])
        for name, stage in zip(rows["experiment"], rows["stage"], strict=True)
    ]
    rows[["gain_low", "gain_high"]] = 100 * np.reshape(limits, (-1, 2))
    return rows


def _interval(regions: Sequence[str | Path], base: Sequence[Counts]) -> tuple[float, float]:
    """Where the gain over the baseline lies, in -1..1; NaN without counts of the baseline on the same images."""
    own = _counts(regions) if base else []
    images = base[0].images if base else []
    if not images or any(each.images != images for each in (*own, *base)):
        return np.nan, np.nan
    return bootstrap_interval(*([(each.intersection, each.union) for each in runs] for runs in (own, base)))


def _counts(regions: Sequence[str | Path]) -> list[Counts]:
    """The counts of tables of regions."""
    found = []
    for table in map(read_table, regions):
        images, classes = pd.Categorical(table["id"]), table["class"].astype(int)
        shape = len(images.categories), int(classes.max()) + 1 if len(table) else 0
        values = (table[key].astype(float) for key in ("intersection", "union"))
        counts = (csr_array((each, (images.codes, classes)), shape=shape) for each in values)
        found.append(Counts(list(images.categories), *counts))
    return found
