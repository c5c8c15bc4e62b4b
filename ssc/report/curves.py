"""The plots of the report: losses, threshold curves of seeds, IoU per class, sweeps. Written as PNG, atomically.

Equal input gives equal bytes: no time stamp, no software name, no style but the one below.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import cycler
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ssc.report.ablation import read_seed_figures
from ssc.report.fonts import font_families
from ssc.runtime.files import atomic, read_json, read_table

# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"]
_STYLE = {
    **matplotlib.rcParamsDefault,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=_COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "text.parse_math": False,  # class names may hold dollar signs
    "font.family": font_families(),
    "font.size": 9,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "savefig.dpi": 150,
}
_BAR = 0.11  # height of one bar in inches
_POINTS = 200  # of a curve of losses


@matplotlib.rc_context(_STYLE)
def plot_losses(tables: Mapping[str, str | Path], output: str | Path) -> None:
    """Losses over the steps of each training, one subplot per training, as means over equal stretches of it.

    Args:
        tables: by title, a table of `ssc.training.loss_table.LossTable`.
        output: PNG file; a note where nothing was trained.

    Raises:
        InputError: a table is absent or damaged.
    """
    figure = Figure(figsize=(3.6 * max(1, len(tables)), 3.3), layout="constrained")
    if not tables:
        _note(figure, "Nothing was trained:\nall weights and files were ready.")
    for number, (title, path) in enumerate(tables.items(), start=1):
        axes = figure.add_subplot(1, len(tables), number)
        losses = _stretches(path)
        for name in losses:
            values = losses[name].dropna()
            marker = "." if len(values) == 1 else None
            axes.plot(values, marker=marker, linewidth=1.2, label=name.replace("_", " "))
        # Losses of one training differ by orders of magnitude; some may touch 0, which has no logarithm.
        if not (losses <= 0).any(axis=None):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter("{x:g}")
        axes.set(title=title, xlabel="step")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8)
        if number == 1:
            axes.set_ylabel("loss")
    _save(figure, output)


def _stretches(path: str | Path) -> pd.DataFrame:
    """The losses of a table as means over equal stretches of steps, by the mean step; no more than `_POINTS`."""
    table = read_table(path).astype(float)
    length = -(-len(table) // _POINTS)
    return table.groupby(np.arange(len(table)) // length).mean().set_index("step").drop(columns="lr")


@matplotlib.rc_context(_STYLE)
def plot_threshold_curve(seeds: str | Path | None, output: str | Path) -> None:
    """mIoU of the seeds over the background threshold; the best point and the fixed threshold are marked.

    Args:
        seeds: JSON file of `ssc.stages.seeds.summarise_seeds`; None where the run makes no seeds.
        output: PNG file; a note instead of a curve without seeds, and where no training image has a mask.

    Raises:
        InputError: `seeds` is absent or no valid JSON.
    """
    result = read_json(seeds) if seeds else None
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    if result is None:
        _note(figure, "This run makes no seeds:\nit starts from what comes after them.")
    elif result["miou"] is None:
        _note(figure, "No training image has a mask:\nthe seeds cannot be measured.")
    else:
        axes = figure.subplots()
        curve, fixed = result["curve"], result["at_fixed_threshold"]
        axes.plot([p["threshold"] for p in curve], [100 * p["miou"] for p in curve], marker=".", color=_COLOURS[0])
        for name, point, marker, colour in (("fixed", fixed, "D", _COLOURS[1]), ("best", result, "*", _COLOURS[5])):
            threshold, miou = point["threshold"], 100 * point["miou"]
            axes.axvline(threshold, color=colour, linestyle=":", linewidth=1)
            label = f"{name}: {miou:.1f} % at {threshold:.2f}"
            size = 12 if marker == "*" else 6
            axes.plot(threshold, miou, marker, color=colour, markersize=size, label=label)
        axes.set(title="Seeds", xlabel="background threshold", ylabel="mIoU (%)")
        axes.legend()
    _save(figure, output)


@matplotlib.rc_context(_STYLE)
def plot_class_iou(metrics: Mapping[str, str | Path], classes: Sequence[str], output: str | Path) -> None:
    """IoU per class of several stages as grouped bars; the figure grows with the number of classes.

    Args:
        metrics: by name of the stage, a JSON file with `split`, `miou` and `iou` (by class name), fractions of 1 or
            None.
        classes: names of the C foreground classes.
        output: PNG file.

    Raises:
        InputError: a file is absent or no valid JSON.
    """
    names = ["background", *classes]
    group = (len(metrics) + 1) * _BAR
    figure = Figure(figsize=(6, group * len(names) + 0.17 * len(metrics) + 0.7), layout="constrained")
    axes = figure.subplots()
    for number, (stage, path) in enumerate(metrics.items()):
        result = read_json(path)
        values = [np.nan if result["iou"][name] is None else 100 * result["iou"][name] for name in names]
        label = f"{stage} ({result['split']})"
        if result["miou"] is not None:
            label += f": mIoU {100 * result['miou']:.1f} %"
        positions = np.arange(len(names)) * group + (number - (len(metrics) - 1) / 2) * _BAR
        bars = axes.barh(positions, values, height=0.9 * _BAR, label=label)
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=6)
    axes.set_yticks(np.arange(len(names)) * group, names)
    axes.set(xlim=(0, 104), xlabel="IoU (%)", ylim=((len(names) - 0.45) * group, -0.55 * group))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper center", fontsize=8)
    _save(figure, output)


@matplotlib.rc_context(_STYLE)
def plot_experiment_curves(experiments: Mapping[str, Sequence[str | Path]], output: str | Path) -> None:
    """mIoU of the seeds over the background threshold, one line per experiment: the mean over its random seeds.

    Args:
        experiments: by name, JSON files of `ssc.stages.seeds.summarise_seeds`.
        output: PNG file.

    Raises:
        InputError: a file is absent or no valid JSON, or no training image had a mask.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, (name, files) in enumerate(experiments.items()):
        curves = [read_seed_figures(path)["curve"] for path in files]
        thresholds = [point["threshold"] for point in curves[0]]
        values = np.mean([[100 * point["miou"] for point in curve] for curve in curves], axis=0)
        dashes = "-" if number < len(_COLOURS) else "--"
        axes.plot(thresholds, values, dashes, linewidth=1.3, label=name)
    axes.set(title="Seeds of the experiments", xlabel="background threshold", ylabel="mIoU (%)")
    figure.legend(loc="outside right upper", fontsize=8)
    _save(figure, output)


@matplotlib.rc_context(_STYLE)
def plot_sweeps(sweeps: Mapping[str, Mapping[float, Sequence[str | Path]]], output: str | Path) -> None:
    """mIoU of the seeds over the swept settings (paper Fig. 7): mean and standard deviation over random seeds.

    Sweeps over the same values share a plot.

    Args:
        sweeps: by name, for each value the JSON files of `ssc.stages.seeds.summarise_seeds`.
        output: PNG file; a note where there is no sweep.

    Raises:
        InputError: a file is absent or no valid JSON, or no training image had a mask.
    """
    plots: dict[tuple[float, ...], list[str]] = {}
    for name, points in sweeps.items():
        plots.setdefault(tuple(sorted(points)), []).append(name)
    figure = Figure(figsize=(4.4 * max(1, len(plots)), 3.2), layout="constrained")
    if not plots:
        _note(figure, "No sweep is declared (ablation.sweeps).")
    for number, (values, names) in enumerate(plots.items(), start=1):
        axes = figure.add_subplot(1, len(plots), number)
        for name in names:
            scores = [[100 * read_seed_figures(path)["miou"] for path in sweeps[name][value]] for value in values]
            means = np.array([np.mean(each) for each in scores])
            spread = [np.std(each, ddof=1) if len(each) > 1 else 0 for each in scores]
            places = np.array(values, float)  # matplotlib makes objects of numbers in lists
            axes.errorbar(places, means, spread, marker="o", markersize=4, capsize=3, linewidth=1.2, label=name)
        if min(values) > 0 and max(values) / min(values) >= 50:
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(title=", ".join(names), xlabel=" and ".join(names), ylabel="mIoU of the seeds (%)")
        axes.legend(fontsize=8)
    _save(figure, output)


def _note(figure: Figure, text: str) -> None:
    """A note in the place of a plot."""
    figure.text(0.5, 0.5, text, ha="center", va="center")


def _save(figure: Figure, output: str | Path) -> None:
    with atomic(output) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
