"""The ablation table: seeds of experiments over several random seeds, beside the paper's Tables VII and VIII."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

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
    "at_threshold": "at the fixed threshold", "over_activation": "over-activation",
    "under_activation": "under-activation", "map": "mAP on val", "pseudo_labels": "pseudo-labels",
    "segmentation": "segmentation", "paper_table": "paper: table",
    "paper_miou": "paper: mIoU", "difference": "difference", "paper_gain": "paper: gain",
}  # fmt: skip
_NOTE = (
    "mIoU of seeds (CAMs at their best threshold) on training images, in percent: mean ± standard deviation over\n"
    "random seeds. Gain: difference to the baseline of the same random seed. Over-activation: background called\n"
    "foreground; under-activation: foreground called background. Fixed threshold: seeds.threshold, which no mask\n"
    "chose. mAP: of the classifier, over the labelled photos of val. Pseudo-labels: on training images;\n"
    "segmentation: on prediction.split. The paper's values are those of VOC 2012."
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
    "Stage by stage, seeds at the fixed threshold, so that masks chose nothing. 95 %: where the gain lies if photos\n"
    "are drawn anew, with replacement, the same for both. Boundary IoU: within 2 % of the diagonal of a region's edge\n"
    "(Cheng et al. 2021). Small, medium, large: IoU of the regions that take up to 5 %, 25 %, more of their photo."
)


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
            fixed = {"at_threshold": figures["at_fixed_threshold"]["miou"], "map": scores and read_json(scores)["map"]}
            after = {stage: read_json(files[number])["miou"] for stage, files in later.items()}
            read.append({"experiment": name, "number": number, **figures, **fixed, **after})
    found = pd.DataFrame(read, columns=["experiment", "number", *_MEASURES])
    found[_MEASURES] = 100 * found[_MEASURES].astype(float)
    found["gain"] = _gain(found, ["number"])
    return found


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
                figures = figures.get("at_fixed_threshold", figures)
                read.append({**figures, "experiment": name, "stage": stage, "number": number})
    found = pd.DataFrame(read, columns=["experiment", "stage", "number", *_PARTS])
    found[_PARTS] = 100 * found[_PARTS].astype(float)
    found["gain"] = _gain(found, ["stage", "number"])
    by_stage = found.groupby(["experiment", "stage"], sort=False, as_index=False)
    rows = by_stage.agg(seeds=("miou", "size"), **_spread(_PARTS))
    limits = [
        _interval(experiments, name, stage) for name, stage in zip(rows["experiment"], rows["stage"], strict=True)
    ]
    rows[["gain_low", "gain_high"]] = np.reshape(limits, (-1, 2))
    return rows


def _interval(experiments: Mapping[str, Stages], name: str, stage: str) -> tuple[float, float]:
    """Where the gain of an experiment's stage lies, in percent; NaN where there is nothing to compare with."""
    other = experiments.get(_BASELINE, {}).get(stage)
    if name == _BASELINE or other is None:
        return np.nan, np.nan
    pairs = ([_counts(path) for path in files["regions"]] for files in (experiments[name][stage], other))
    low, high = bootstrap_interval(*pairs)
    return 100 * low, 100 * high


def _counts(path: str | Path) -> tuple[csr_array, csr_array]:
    """Intersections and unions (images, classes) of a table of regions; images in the order of their ids."""
    table = read_table(path)
    cells = pd.Categorical(table["id"]).codes, table["class"].astype(int)
    return tuple(csr_array((table[key].astype(float), cells)) for key in ("intersection", "union"))
