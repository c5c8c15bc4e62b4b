"""The ablation table: seeds of experiments over several random seeds, beside the paper's Tables VII and VIII."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssc.report.paper import ablation_value
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, write_text, write_tsv

_BASELINE = "baseline"
_MEASURES = ("miou", "over_activation", "under_activation")
_HEADER = [
    "experiment", "seeds", "miou", "miou_std", "gain", "gain_std", "over_activation", "over_activation_std",
    "under_activation", "under_activation_std", "paper_table", "paper_miou", "difference", "paper_gain",
]  # fmt: skip


def read_seed_figures(path: str | Path) -> dict:
    """Figures of one experiment's seeds, at their best threshold.

    Args:
        path: JSON file of `ssc.seeds.summarise_seeds`.

    Raises:
        InputError: no training image had a mask.
    """
    figures = read_json(path)
    if figures["miou"] is None:
        raise InputError(f"{path} measured nothing: no training image has a mask, which an ablation needs.")
    return figures


def write_ablation(
    *, experiments: Mapping[str, Sequence[str | Path]], table: str | Path, markdown: str | Path, dataset: str
) -> None:
    """Write mean and standard deviation of every experiment, in percent, as TSV and as Markdown.

    `gain` is the mean difference to the experiment `baseline` (where there is one) of the same random seed, so that
    what a seed does to all experiments cancels out. Standard deviations are those of a sample (n - 1) and left empty
    for a single seed.

    Args:
        experiments: by name, the JSON files of their seeds (`ssc.seeds.summarise_seeds`), one per random seed and in
            the same order for all.
        table: TSV to write.
        markdown: Markdown to write.
        dataset: name of the data set, for the heading.

    Raises:
        InputError: no training image had a mask.
    """
    values = {name: _measure(files) for name, files in experiments.items()}
    rows = [_row(name, own, values.get(_BASELINE)) for name, own in values.items()]
    write_tsv(table, _HEADER, rows)
    write_text(markdown, _markdown(rows, dataset))


def _measure(files: Sequence[str | Path]) -> dict[str, np.ndarray]:
    """Each measure over the random seeds, in percent."""
    figures = [read_seed_figures(path) for path in files]
    return {name: np.array([100 * each[name] for each in figures]) for name in _MEASURES}


def _row(name: str, own: Mapping[str, np.ndarray], baseline: Mapping[str, np.ndarray] | None) -> dict[str, str]:
    row = {"experiment": name, "seeds": str(len(own["miou"]))}
    spread = dict(own)
    if baseline is not None and name != _BASELINE:
        spread["gain"] = own["miou"] - baseline["miou"]
    for measure, values in spread.items():
        row[measure] = f"{values.mean():.2f}"
        if len(values) > 1:
            row[f"{measure}_std"] = f"{values.std(ddof=1):.2f}"
    if reported := ablation_value(name):
        tables, miou = reported
        row |= {"paper_table": tables, "paper_miou": f"{miou:.1f}", "difference": f"{own['miou'].mean() - miou:+.2f}"}
        if name != _BASELINE:
            row["paper_gain"] = f"{miou - ablation_value(_BASELINE)[1]:+.1f}"
    return row


def _markdown(rows: Sequence[Mapping[str, str]], dataset: str) -> str:
    def spread(row: Mapping[str, str], measure: str) -> str:
        std = row.get(f"{measure}_std")
        return row.get(measure, "") + (f" ± {std}" if std else "")

    header = [
        "experiment", "seeds", "mIoU", "gain over baseline", "over-activation", "under-activation",
        "paper: table", "paper: mIoU", "difference", "paper: gain",
    ]  # fmt: skip
    lines = [header, ["---", *("---:" for _ in header[1:])]]
    for row in rows:
        measured = [spread(row, measure) for measure in ("miou", "gain", "over_activation", "under_activation")]
        paper = [row.get(key, "") for key in ("paper_table", "paper_miou", "difference", "paper_gain")]
        lines.append([row["experiment"], row["seeds"], *measured, *paper])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"# Ablation on {dataset}\n\n"
        "Seeds (CAMs at their best threshold) on training images, in percent: mean ± standard deviation over random "
        "seeds.\nGain: difference to the baseline of the same random seed. Over-activation: background called "
        "foreground;\nunder-activation: foreground called background. The paper's values are those of VOC 2012.\n\n"
        f"{table}\n"
    )
