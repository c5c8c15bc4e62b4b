import json
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import same_color
from PIL import Image

from ssc.report import curves
from ssc.report.curves import plot_class_iou, plot_experiment_curves, plot_losses, plot_sweeps, plot_threshold_curve
from ssc.runtime.errors import InputError
from ssc.training.loss_table import LossTable


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved, save = [], curves._save

    def keep(figure, output):
        saved.append(figure)
        save(figure, output)

    monkeypatch.setattr(curves, "_save", keep)
    return saved


def write(path, value):
    path.write_text(json.dumps(value))
    return path


def seeds_json(path, *, best=0.6, fixed=0.5):
    curve = [(0.1, fixed), (0.2, best), (0.3, 0.4)]
    return write(
        path,
        {
            "threshold": 0.2,
            "miou": best,
            "at_fixed_threshold": {"threshold": 0.1, "miou": fixed},
            "curve": [{"threshold": t, "miou": miou} for t, miou in curve],
        },
    )


def metrics_json(path, classes, rng, *, absent=()):
    iou = {name: None if name in absent else rng.random() for name in ["background", *classes]}
    miou = float(np.mean([v for v in iou.values() if v is not None]))
    return write(path, {"split": "val", "miou": miou, "iou": iou}), iou


def lines(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def losses_table(path, *rows):
    """The table that a training writes of its losses at the steps from 1."""
    table = LossTable(path)
    table.begin()
    for step, row in enumerate(rows, start=1):
        table.add(step, 0.1, row)
    table.end()
    return path


def test_losses_are_drawn_where_they_are_recorded(tmp_path, drawn):
    rows = [{"classification": 0.7}, {"classification": 0.5, "dp_fg": 0.01}]
    first = losses_table(tmp_path / "a.tsv", *rows)
    second = losses_table(tmp_path / "b.tsv", {"total": 0.0})
    plot_losses({"classifier": first, "IRN": second}, tmp_path / "losses.png")
    left, right = drawn[0].axes
    assert [left.get_title(), right.get_title()] == ["classifier", "IRN"]
    assert lines(left) == {"classification": ([1, 2], [0.7, 0.5]), "dp fg": ([2], [0.01])}
    assert lines(right) == {"total": ([1], [0.0])}
    assert all(line.get_marker() == "." for line in (left.lines[1], right.lines[0]))  # one point is no line
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")  # 0 has no logarithm


@pytest.mark.parametrize("count", [200, 201, 1999])
def test_long_trainings_are_drawn_as_means_over_equal_stretches(tmp_path, drawn, rng, count):
    values = [float(f"{value:.6g}") for value in rng.random(count) + 0.1]
    late = count // 2 + 1  # steps before the second loss sets in
    rows = [{"a": value, **({"b": 2 * value} if step >= late else {})} for step, value in enumerate(values)]
    plot_losses({"a": losses_table(tmp_path / "a.tsv", *rows)}, tmp_path / "losses.png")
    length = next(k for k in range(1, count) if count <= 200 * k)
    for name, first, factor in (("a", 0, 1), ("b", late, 2)):
        steps, means = lines(drawn[0].axes[0])[name]
        stretches = [range(start, min(start + length, count)) for start in range(0, count, length)]
        stretches = [stretch for stretch in stretches if stretch[-1] >= first]
        np.testing.assert_allclose(steps, [1 + np.mean(stretch) for stretch in stretches])
        own = [[factor * values[k] for k in stretch if k >= first] for stretch in stretches]
        np.testing.assert_allclose(means, [np.mean(each) for each in own], rtol=1e-5)
    assert 100 <= len(lines(drawn[0].axes[0])["a"][0]) <= 200


@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
def test_the_axis_of_losses_has_plain_numbers(tmp_path, drawn, scale):
    path = losses_table(tmp_path / "a.tsv", *({"a": scale * (1 + k / 10)} for k in range(9)))
    plot_losses({"a": path}, tmp_path / "a.png")
    low, high = drawn[0].axes[0].get_ylim()
    labels = [label for label in drawn[0].axes[0].get_yticklabels() if low <= label.get_position()[1] <= high]
    assert len(labels) >= 1
    assert all(float(label.get_text()) == pytest.approx(label.get_position()[1]) for label in labels)


def test_the_threshold_curve_marks_best_and_fixed(tmp_path, drawn):
    plot_threshold_curve(seeds_json(tmp_path / "seeds.json"), tmp_path / "curve.png")
    axes = drawn[0].axes[0]
    points = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert points[0] == ([0.1, 0.2, 0.3], pytest.approx([50, 60, 40]))
    assert points[1:] == [([0.1, 0.1], [0, 1]), ([0.1], [50.0]), ([0.2, 0.2], [0, 1]), ([0.2], [60.0])]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["fixed: 50.0 % at 0.10", "best: 60.0 % at 0.20"]


def test_without_masks_a_sentence_takes_the_place_of_the_curve(tmp_path, drawn):
    plot_threshold_curve(seeds_json(tmp_path / "seeds.json", best=None, fixed=None), tmp_path / "curve.png")
    assert not drawn[0].axes
    assert "No training image has a mask" in drawn[0].texts[0].get_text()


def test_what_a_run_does_not_make_is_said(tmp_path, drawn):
    plot_threshold_curve(None, tmp_path / "curve.png")
    plot_losses({}, tmp_path / "losses.png")
    assert not drawn[0].axes and not drawn[1].axes
    assert "makes no seeds" in drawn[0].texts[0].get_text()
    assert "Nothing was trained" in drawn[1].texts[0].get_text()


def test_bars_of_class_iou(tmp_path, drawn, rng):
    classes = ["cat", "dog"]
    metrics, values = {}, {}
    for stage in ("seeds", "segmentation"):
        metrics[stage], values[stage] = metrics_json(tmp_path / f"{stage}.json", classes, rng, absent=["dog"])
    plot_class_iou(metrics, classes, tmp_path / "iou.png")
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["background", "cat", "dog"]
    for stage, bars in zip(metrics, axes.containers, strict=True):
        widths = [bar.get_width() for bar in bars]
        np.testing.assert_allclose(widths[:2], [100 * values[stage][name] for name in ("background", "cat")])
        assert np.isnan(widths[2])  # "no pixel" is not 0 %
        assert bars.get_label().startswith(f"{stage} (val): mIoU {(widths[0] + widths[1]) / 2:.1f}")
    heights = [bar.get_y() + bar.get_height() / 2 for bars in axes.containers for bar in bars]
    assert np.mean(heights[0::3]) == pytest.approx(axes.get_yticks()[0])  # the tick is at the middle of its group
    colours = [bars[0].get_facecolor() for bars in axes.containers]
    assert not same_color(*colours)


@pytest.mark.parametrize("count", [4, 20, 80])
def test_class_names_and_bars_do_not_overlap(tmp_path, drawn, rng, count):
    classes = [f"class {k}" for k in range(count)]
    metrics = {stage: metrics_json(tmp_path / f"{stage}.json", classes, rng)[0] for stage in "abc"}
    plot_class_iou(metrics, classes, tmp_path / "iou.png")
    axes = drawn[0].axes[0]
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    bars = [bar.get_window_extent() for container in axes.containers for bar in container]
    for extents in (boxes, bars):
        extents = sorted(extents, key=lambda box: box.y0)
        assert all(below.y1 <= above.y0 for below, above in pairwise(extents))
    assert len(boxes) == count + 1
    assert min(box.height for box in bars) > 0.07 * drawn[0].dpi  # inches


@pytest.mark.filterwarnings("ignore:Glyph")
def test_class_names_in_any_script_are_drawn(tmp_path, drawn):
    names = ["犬", "كلب", "כלב", "कुत्ता", "🐕", "a $b$ <i>"]
    iou = dict.fromkeys(["background", *names], 0.5)
    file = write(tmp_path / "labels.json", {"split": "train", "miou": 0.5, "iou": iou})
    plot_class_iou({"pseudo-labels": file}, names, tmp_path / "bars.png")
    assert [label.get_text() for label in drawn[0].axes[0].get_yticklabels()][1:] == names


def test_equal_input_gives_equal_bytes_whatever_the_users_style(tmp_path, rng):
    losses = losses_table(tmp_path / "losses.tsv", *({"a": rng.random() + 0.1} for _ in range(5)))
    seeds = seeds_json(tmp_path / "seeds.json")
    metrics, _ = metrics_json(tmp_path / "m.json", ["cat"], rng)
    pictures = []
    for style in ({}, {"axes.facecolor": "black", "font.size": 20, "savefig.bbox": "tight"}):
        with matplotlib.rc_context(style):
            plot_losses({"a": losses}, tmp_path / "1.png")
            plot_threshold_curve(seeds, tmp_path / "2.png")
            plot_class_iou({"seeds": metrics}, ["cat"], tmp_path / "3.png")
        pictures.append([(tmp_path / f"{k}.png").read_bytes() for k in (1, 2, 3)])
    assert pictures[0] == pictures[1]
    for number in (1, 2, 3):
        with Image.open(tmp_path / f"{number}.png") as image:
            assert set(image.info) == {"dpi"}


def test_a_missing_or_damaged_input_is_named_and_leaves_no_picture(tmp_path):
    (tmp_path / "torn.json").write_text("a\tb\n1\t2\t3\n")
    for path in (tmp_path / "torn.json", tmp_path / "absent.json"):
        for plot in (
            lambda path, out: plot_losses({"a": path}, out),
            plot_threshold_curve,
            lambda path, out: plot_class_iou({"a": path}, ["cat"], out),
        ):
            with pytest.raises(InputError, match=path.name):
                plot(path, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_experiment_curves_are_means_over_seeds(tmp_path, drawn):
    files = [seeds_json(tmp_path / f"{k}.json", best=0.6 + k / 10, fixed=0.5) for k in (0, 1)]
    plot_experiment_curves({"ssc": files, "baseline": files[:1]}, tmp_path / "curves.png")
    both, one = drawn[0].axes[0].lines
    assert both.get_label() == "ssc" and one.get_label() == "baseline"
    np.testing.assert_allclose(both.get_xdata(), [0.1, 0.2, 0.3])
    np.testing.assert_allclose(both.get_ydata(), [50, 65, 40])
    np.testing.assert_allclose(one.get_ydata(), [50, 60, 40])
    assert not same_color(both.get_color(), one.get_color())


def test_sweeps_show_mean_and_deviation_and_share_a_plot_over_the_same_values(tmp_path, drawn):
    files = {k: seeds_json(tmp_path / f"{k}.json", best=k / 10) for k in range(1, 7)}
    sweeps = {
        "alpha": {10: [files[1], files[3]], 0.1: [files[2], files[2]]},
        "beta": {0.1: [files[4]], 10: [files[5]]},
        "erosion": {2: [files[6]]},
    }
    plot_sweeps(sweeps, tmp_path / "sweeps.png")
    shared, alone = drawn[0].axes
    assert [container.get_label() for container in shared.containers] == ["alpha", "beta"]
    line, _, (bars,) = shared.containers[0].lines
    np.testing.assert_allclose(line.get_xdata(), [0.1, 10])
    np.testing.assert_allclose(line.get_ydata(), [20, 20])
    half = [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]
    np.testing.assert_allclose(half, [0, np.sqrt(2) * 10], atol=1e-9)
    assert (shared.get_xscale(), alone.get_xscale()) == ("log", "linear")
    assert [tick.get_text() for tick in shared.get_xticklabels()] == ["0.1", "10"]


def test_without_sweeps_there_is_a_sentence(tmp_path, drawn):
    plot_sweeps({}, tmp_path / "sweeps.png")
    assert "No sweep" in drawn[0].texts[0].get_text()


def test_plots_of_experiments_need_masks(tmp_path):
    path = write(tmp_path / "seeds.json", {"miou": None})
    for plot in (
        lambda: plot_experiment_curves({"a": [path]}, tmp_path / "x.png"),
        lambda: plot_sweeps({"a": {1: [path]}}, tmp_path / "x.png"),
    ):
        with pytest.raises(InputError, match="measured nothing"):
            plot()
    assert not (tmp_path / "x.png").exists()
