"""The ablation table: seeds of experiments over several random seeds, beside the paper's Tables VII and VIII."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from ssc.report.paper import ablation_value
from ssc.report.text import as_text, to_markdown
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, write_table, write_text

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
    experiments: Mapping[str, Sequence[str | Path]],
    classifiers: Mapping[str, Sequence[str | Path]],
    later: Mapping[str, Mapping[str, Sequence[str | Path]]],
    table: str | Path,
    markdown: str | Path,
    dataset: str,
) -> None:
    """Write mean and standard deviation of every experiment, in percent, as TSV and as Markdown.

    `gain` is the mean difference to the experiment `baseline` (where there is one) of the same random seed, so that
    what a seed does to all experiments cancels out. Standard deviations are those of a sample (n - 1) and left empty
    for a single seed.

    Args:
        experiments: by name, the JSON files of their seeds (`ssc.stages.seeds.summarise_seeds`), one per random
            seed and in the same order for all.
        classifiers: likewise, of their classifiers (`ssc.stages.classifier_scores`); none where CAMs stand ready.
        later: by name and stage, `pseudo_labels` or `segmentation`, likewise its figures (`ssc.stages.evaluate`); none
            of a stage to which the table does not follow them.
        table: TSV to write.
        markdown: Markdown to write; it leaves out columns that are empty.
        dataset: name of the data set, for the heading.

    Raises:
        InputError: no training image had a mask.
    """
    rows = as_text(_summarise(_measure(experiments, classifiers, later)), _FORMATS)
    write_table(table, rows)
    for measure in _MEASURES:
        deviation = rows[f"{measure}_std"]
        rows[measure] += (" ± " + deviation).where(deviation != "", "")
    headings = {name: heading for name, heading in _HEADINGS.items() if (rows[name] != "").any()}
    text = to_markdown(rows[[*headings]].rename(columns=headings), words=1)
    write_text(markdown, f"# Ablation on {dataset}\n\n{_NOTE}\n\n{text}\n")


def _measure(
    experiments: Mapping[str, Sequence], classifiers: Mapping[str, Sequence], later: Mapping[str, Mapping]
) -> pd.DataFrame:
    """A row per experiment and random seed: `_MEASURES` in percent."""
    read = []
    for name, files in experiments.items():
        for number, (path, scores) in enumerate(zip_longest(files, classifiers[name])):
            figures = read_seed_figures(path)
            fixed = {"at_threshold": figures["at_fixed_threshold"]["miou"], "map": scores and read_json(scores)["map"]}
            after = {stage: read_json(paths[number])["miou"] for stage, paths in later[name].items()}
            read.append({"experiment": name, "number": number, **figures, **fixed, **after})
    found = pd.DataFrame(read, columns=["experiment", "number", *_MEASURES])
    found[_MEASURES] = 100 * found[_MEASURES].astype(float)
    is_baseline = found["experiment"] == _BASELINE
    baseline = found[is_baseline].set_index("number")["miou"]
    found["gain"] = (found["miou"] - found["number"].map(baseline)).mask(is_baseline)
    return found


def _summarise(found: pd.DataFrame) -> pd.DataFrame:
    """A row per experiment: mean and deviation of its measures, beside what the paper reports."""
    spread = {
        f"{measure}{end}": (measure, how) for measure in _MEASURES for end, how in (("", "mean"), ("_std", "std"))
    }
    rows = found.groupby("experiment", sort=False, as_index=False).agg(seeds=("miou", "size"), **spread)
    paper = [ablation_value(name) or (None, None) for name in rows["experiment"]]
    rows[["paper_table", "paper_miou"]] = pd.DataFrame(paper, columns=["table", "miou"]).astype({"miou": float})
    rows["difference"] = rows["miou"] - rows["paper_miou"]
    gain = rows["paper_miou"] - ablation_value(_BASELINE)[1]
    rows["paper_gain"] = gain.mask(rows["experiment"] == _BASELINE)
    return rows
