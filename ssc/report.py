"""The table of a run: every stage's figures and costs, as TSV and as the short text that ends a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssc.data.index import read_classes
from ssc.files import read_json, read_tsv, write_text, write_tsv


def write_metrics(
    *,
    metrics: Mapping[str, str | Path],
    classes: str | Path,
    benchmarks: Mapping[str, Sequence[str | Path]],
    table: str | Path,
    text: str | Path,
) -> None:
    """Collect the stages' JSON files and the workflow's benchmark files.

    Args:
        metrics: JSON files by stage: of `seeds`, `pseudo-labels` and `segmentation` those that the run reports.
        classes: class list of the index.
        benchmarks: by stage, in the order of the road, Snakemake's benchmark files of its jobs where they exist.
        table: TSV to write, one row per stage, test-time step and baseline. IoU in percent, time in seconds over all
            jobs, memory in MB of the largest job.
        text: plain-text table of mIoU and cost.
    """
    names = ["background", *read_classes(classes)]
    costs = {stage: _cost(files) for stage, files in benchmarks.items()}
    figures = {stage: read_json(path) for stage, path in metrics.items()}
    rows = []
    for stage, cost in costs.items():
        if cost or stage in figures:
            rows.append(_row(stage, figures.get(stage), names, cost))
        for kind, key in (("step", "steps"), ("baseline", "baselines")):
            for name, miou in figures.get(stage, {}).get(key, {}).items():
                rows.append({"stage": f"{kind}: {name}", "split": figures[stage]["split"], "miou": _percent(miou)})
        if stage == "seeds" and stage in figures:
            fixed = figures[stage]["at_fixed_threshold"]
            own = {"split": figures[stage]["split"], "images": figures[stage]["images"], **fixed}
            rows.append(_row(f"seeds at {fixed['threshold']:g}", own, names, {}))
    header = ["stage", "split", "images", "miou", "over_activation", "under_activation", "seconds", "memory_mb"]
    write_tsv(table, header + [f"iou_{name}" for name in names], rows)
    write_text(text, _text(rows))


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


def _cost(files: Sequence[str | Path]) -> dict[str, str]:
    """Seconds over all jobs and memory of the largest; empty without a benchmark file."""
    jobs = [job for file in files if Path(file).exists() for job in read_tsv(file)]
    if not jobs:
        return {}
    cost = {"seconds": f"{sum(float(job['s']) for job in jobs):.1f}"}
    # A job too short to be sampled has no memory figure.
    memory = [float(job["max_rss"]) for job in jobs if job["max_rss"] not in ("-", "NA", "")]
    return cost | ({"memory_mb": f"{max(memory):.0f}"} if memory else {})


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _text(rows: Sequence[Mapping]) -> str:
    header = ["stage", "split", "mIoU", "over", "under", "seconds", "MB"]
    keys = ["stage", "split", "miou", "over_activation", "under_activation", "seconds", "memory_mb"]
    cells = [header, *([str(row.get(key, "")) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    lines = []
    for line in cells:
        padded = [
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded))
    note = (
        "mIoU, over-activation (background called foreground) and under-activation (foreground called background)\n"
        "in %; seconds over a stage's jobs, MB of the largest job. Seeds: the best threshold of the sweep.\n"
    )
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]) + "\n\n" + note
