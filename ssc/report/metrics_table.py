"""The tables of a run: every stage's figures, every rule's costs, as TSV and as the short text that ends a run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ssc.data.index import read_index
from ssc.report import costs
from ssc.report.text import aligned, as_text
from ssc.runtime.files import read_json, write_table, write_text

_SHARES = ["miou", "over_activation", "under_activation"]  # written in percent
_SELECTED_NOTE = "Segmentation: the epoch of its training was selected on val masks (segmentation.select_on_val).\n"
_COSTS = ["seconds", "memory_mb"]  # of a stage

# Headings of the plain-text tables.
_FIGURES_TEXT = {
    "stage": "stage", "split": "split", "miou": "mIoU", "over_activation": "over", "under_activation": "under",
    "seconds": "seconds", "memory_mb": "MB",
}  # fmt: skip
_COSTS_TEXT = {
    "stage": "stage", "rule": "rule", "jobs": "jobs", "photos": "photos", "seconds": "seconds",
    "longest_job": "longest", "mean_load": "load", "memory_mb": "MB", "seconds_per_photo": "s/photo",
}  # fmt: skip
_FIGURES_NOTE = (
    "mIoU, over-activation (background called foreground) and under-activation (foreground called background)\n"
    "in %; seconds over a stage's jobs, MB of the largest job. Seeds: the best threshold of the sweep.\n"
)
_COSTS_NOTE = (
    "Seconds over a rule's jobs, some of which run at the same time, and of the longest; processor load in % of\n"
    "one core; MB of the largest job. The report's own jobs are not among them.\n"
)


def write_metrics(
    *,
    metrics: Mapping[str, str | Path],
    index: str | Path,
    benchmarks: Mapping[str, Sequence[Mapping]],
    table: str | Path,
    costs_table: str | Path,
    text: str | Path,
) -> None:
    """Collect the stages' JSON files and the workflow's benchmark files.

    Args:
        metrics: JSON files by stage: of `seeds`, `pseudo-labels` and `segmentation` those that the run reports.
        index: the index.
        benchmarks: by stage, in the order of the road, its rules and their benchmark files, see
            `ssc.report.costs.cost_table`.
        table: TSV to write, one row per stage, test-time step and baseline. IoU in percent, time in seconds over all
            jobs, memory in MB of the largest job.
        costs_table: TSV to write of what the rules' jobs cost.
        text: plain-text tables of mIoU and costs.
    """
    photos = read_index(index)
    spent = costs.cost_table(benchmarks, photos)
    # The first row of a stage is on all of its rules.
    of_stage = spent.drop_duplicates("stage").set_index("stage")[_COSTS]
    figures = {stage: read_json(path) for stage, path in metrics.items()}
    rows = [row for stage in benchmarks if stage in {*of_stage.index, *figures} for row in _rows(stage, figures)]
    shares = [*_SHARES, *(f"iou_{name}" for name in ["background", *photos.classes])]
    found = pd.DataFrame(rows, columns=["stage", "split", "images", "chosen_by_masks", *shares])
    found[shares] = 100 * found[shares].astype(float)
    columns = ["stage", "split", "images", *_SHARES, *_COSTS, "chosen_by_masks", *shares[len(_SHARES) :]]
    found = found.join(of_stage, on="stage")[columns]
    own = {name: costs.FORMATS[name] for name in _COSTS}
    found = as_text(found, {"images": ".0f", **dict.fromkeys(shares, ".2f"), **own})
    spent = as_text(spent, costs.FORMATS)
    write_table(table, found)
    write_table(costs_table, spent)
    selected = figures.get("segmentation", {}).get("chosen_by_masks") == "epoch"
    write_text(text, _text(found, spent, note=_SELECTED_NOTE if selected else ""))


def _rows(stage: str, figures: Mapping[str, Mapping]) -> Iterator[dict]:
    """The rows of a stage: its own, those of its steps and baselines, and that of the seeds' fixed threshold."""
    own = figures.get(stage, {})
    yield _row(stage, own)
    for kind in ("step", "baseline"):
        chosen = own.get("chosen_by_masks") if kind == "step" else None
        for name, miou in own.get(f"{kind}s", {}).items():
            yield {"stage": f"{kind}: {name}", "split": own["split"], "miou": miou, "chosen_by_masks": chosen}
    if fixed := own.get("at_fixed_threshold"):
        yield _row(f"{stage} at {fixed['threshold']:g}", {**own, **fixed, "chosen_by_masks": None})
    if coarse := own.get("at_stride_4"):
        yield _row(f"{stage} of stride 4", {**own, **coarse})


def _row(stage: str, figures: Mapping) -> dict:
    iou = {f"iou_{name}": value for name, value in figures.get("iou", {}).items()}
    return {**figures, "stage": stage, **iou}


def _text(figures: pd.DataFrame, spent: pd.DataFrame, *, note: str) -> str:
    text = f"{aligned(figures[[*_FIGURES_TEXT]].rename(columns=_FIGURES_TEXT), words=2)}\n{_FIGURES_NOTE}{note}"
    if spent.empty:
        return text
    # Sums over a stage stand in the first table.
    spent = spent[(spent["rule"] != "") | (spent["stage"] == "all")]
    return f"{text}\n{aligned(spent[[*_COSTS_TEXT]].rename(columns=_COSTS_TEXT), words=2)}\n{_COSTS_NOTE}"
