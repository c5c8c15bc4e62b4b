"""The tables of a run: every stage's figures, every rule's costs, as TSV and as the short text that ends a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssc.data.index import read_index
from ssc.report import costs
from ssc.runtime.files import read_json, write_text, write_tsv

# Columns of the plain-text tables: the cells that stand under each heading.
_FIGURES = {
    "stage": "stage",
    "split": "split",
    "mIoU": "miou",
    "over": "over_activation",
    "under": "under_activation",
    "seconds": "seconds",
    "MB": "memory_mb",
}
_COSTS = {
    "stage": "stage",
    "rule": "rule",
    "jobs": "jobs",
    "photos": "photos",
    "seconds": "seconds",
    "longest": "longest_job",
    "load": "mean_load",
    "MB": "memory_mb",
    "s/photo": "seconds_per_photo",
}


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
        benchmarks: by stage, in the order of the road, its rules and their benchmark files, see `ssc.report.costs.cost_rows`.
        table: TSV to write, one row per stage, test-time step and baseline. IoU in percent, time in seconds over all
            jobs, memory in MB of the largest job.
        costs_table: TSV to write of what the rules' jobs cost.
        text: plain-text tables of mIoU and costs.
    """
    photos = read_index(index)
    names = ["background", *photos.classes]
    cost_rows = costs.cost_rows(benchmarks, photos)
    # The first row of a stage is on all of its rules.
    stage_costs = {row["stage"]: row for row in reversed(cost_rows)}
    figures = {stage: read_json(path) for stage, path in metrics.items()}
    rows = []
    for stage in benchmarks:
        if stage in stage_costs or stage in figures:
            rows.append(_row(stage, figures.get(stage), names, stage_costs.get(stage, {})))
        for kind, key in (("step", "steps"), ("baseline", "baselines")):
            for name, miou in figures.get(stage, {}).get(key, {}).items():
                rows.append({"stage": f"{kind}: {name}", "split": figures[stage]["split"], "miou": _percent(miou)})
        if stage == "seeds" and stage in figures:
            fixed = figures[stage]["at_fixed_threshold"]
            own = {"split": figures[stage]["split"], "images": figures[stage]["images"], **fixed}
            rows.append(_row(f"seeds at {fixed['threshold']:g}", own, names, {}))
    header = ["stage", "split", "images", "miou", "over_activation", "under_activation", "seconds", "memory_mb"]
    write_tsv(table, header + [f"iou_{name}" for name in names], rows)
    write_tsv(costs_table, costs.HEADER, cost_rows)
    write_text(text, _text(rows, cost_rows))


def _row(stage: str, figures: Mapping | None, classes: Sequence[str], cost: Mapping) -> dict:
    row = {"stage": stage, **cost}
    if figures:
        row |= {
            "split": figures["split"],
            "images": figures["images"],
            "miou": _percent(figures["miou"]),
            "over_activation": _percent(figures["over_activation"]),
            "under_activation": _percent(figures["under_activation"]),
            **{f"iou_{name}": _percent(figures["iou"][name]) for name in classes},
        }
    return row


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _text(rows: Sequence[Mapping], cost_rows: Sequence[Mapping]) -> str:
    note = (
        "mIoU, over-activation (background called foreground) and under-activation (foreground called background)\n"
        "in %; seconds over a stage's jobs, MB of the largest job. Seeds: the best threshold of the sweep.\n"
    )
    text = f"{_table(rows, _FIGURES)}\n{note}"
    if not cost_rows:
        return text
    # Sums over a stage stand in the first table.
    own = [*(row for row in cost_rows if row.get("rule")), cost_rows[-1]]
    note = (
        "Seconds over a rule's jobs, some of which run at the same time, and of the longest; processor load in % of\n"
        "one core; MB of the largest job. The report's own jobs are not among them.\n"
    )
    return f"{text}\n{_table(own, _COSTS)}\n{note}"


def _table(rows: Sequence[Mapping], columns: Mapping[str, str]) -> str:
    """Aligned text of the cells that `columns` names by its headings; the first two are words."""
    cells = [list(columns), *([str(row.get(key, "")) for key in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        padded = [
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]) + "\n"
