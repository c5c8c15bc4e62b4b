import csv

import numpy as np

from ssc.data.index import Index, Row, write_index
from ssc.metrics import summary
from ssc.report.metrics_table import write_metrics
from ssc.runtime.files import write_json, write_text

BENCHMARK = "s\th:m:s\tmax_rss\tmean_load\n{s}\t0:00:01\t{rss}\t90\n"


def stage(name, split, counts):
    return {"stage": name, "split": split, "images": 2, **summary(np.array(counts), ["cat"])}


def write_all(tmp_path, counts, stages=("seeds", "pseudo-labels", "segmentation"), **changes):
    seeds = stage("seeds", "train", counts)
    seeds |= {"threshold": 0.3, "at_fixed_threshold": {"threshold": 0.2, **summary(np.array(counts), ["cat"])}}
    pseudo = stage("pseudo-labels", "train", counts) | {"baselines": {"all background": 0.25, "image label": None}}
    segmentation = stage("segmentation", "val", counts) | {"baselines": {}}
    segmentation["steps"] = {"single scale": 0.5, "single scale + CRF": segmentation["miou"]}
    for name, figures in (("seeds", seeds), ("pseudo-labels", pseudo), ("segmentation", segmentation)):
        write_json(tmp_path / f"{name}.json", figures | changes.get(name, {}))
    write_index(tmp_path / "index.tsv", Index(["cat"], [Row(f"{k}", "train", "", "", (1,)) for k in range(8)]))
    write_text(tmp_path / "benchmarks" / "cams" / "1-of-2.tsv", BENCHMARK.format(s=1.5, rss=100.0))
    write_text(tmp_path / "benchmarks" / "cams" / "2-of-2.tsv", BENCHMARK.format(s=2.5, rss=300.0))
    write_text(tmp_path / "benchmarks" / "evaluate_seeds.tsv", BENCHMARK.format(s=1, rss="-"))
    folder = tmp_path / "benchmarks"
    cams = {"rule": "cams", "files": sorted((folder / "cams").glob("*.tsv")), "splits": ["train"], "masked": False}
    summed = {"rule": "evaluate_seeds", "files": [folder / "evaluate_seeds.tsv"], "splits": [], "masked": False}
    absent = {"rule": "train_irn", "files": [folder / "absent.tsv"], "splits": ["train"], "masked": False}
    write_metrics(
        metrics={stage: tmp_path / f"{stage}.json" for stage in stages},
        index=tmp_path / "index.tsv",
        benchmarks={"seeds": [cams, summed], "IRN": [absent], "pseudo-labels": [], "segmentation": []},
        table=tmp_path / "metrics.tsv",
        costs_table=tmp_path / "costs.tsv",
        text=tmp_path / "summary.txt",
    )
    with (tmp_path / "metrics.tsv").open() as handle:
        return {row["stage"]: row for row in csv.DictReader(handle, delimiter="\t")}


def test_figures_in_percent_and_costs_summed_over_jobs(tmp_path):
    rows = write_all(tmp_path, [[6, 2], [1, 3]])
    assert float(rows["seeds"]["miou"]) == round(100 * (6 / 9 + 3 / 6) / 2, 2)
    assert float(rows["seeds"]["iou_cat"]) == 50
    assert float(rows["seeds"]["over_activation"]) == 25
    assert float(rows["seeds"]["under_activation"]) == 25
    assert float(rows["seeds"]["seconds"]) == 5
    assert float(rows["seeds"]["memory_mb"]) == 300
    assert float(rows["baseline: all background"]["miou"]) == 25
    assert rows["baseline: image label"]["miou"] == ""
    assert rows["seeds at 0.2"]["seconds"] == rows["segmentation"]["seconds"] == ""
    assert "IRN" not in rows


def test_a_row_per_step(tmp_path):
    rows = write_all(tmp_path, [[6, 2], [1, 3]])
    assert list(rows)[-3:] == ["segmentation", "step: single scale", "step: single scale + CRF"]
    assert float(rows["step: single scale"]["miou"]) == 50
    assert rows["step: single scale + CRF"]["miou"] == rows["segmentation"]["miou"]
    assert rows["step: single scale"]["split"] == "val"


def test_text_has_a_line_per_row_and_aligned_columns(tmp_path):
    rows = write_all(tmp_path, [[6, 2], [1, 3]])
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    table = lines[2 : 2 + len(rows)]
    assert [line.split("  ")[0] for line in table] == list(rows)
    assert len({len(line) for line in table}) == 1


def test_costs_of_each_rule_in_the_table_and_the_text(tmp_path):
    write_all(tmp_path, [[6, 2], [1, 3]])
    with (tmp_path / "costs.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    names = [("seeds", ""), ("seeds", "cams"), ("seeds", "evaluate_seeds"), ("all", "")]
    assert [(row["stage"], row["rule"]) for row in rows] == names
    assert [float(row["seconds"]) for row in rows] == [5, 4, 1, 5]
    assert rows[1]["seconds_per_photo"] == "0.5000"
    _, costs = (tmp_path / "summary.txt").read_text().split("\n\nstage")
    table = costs.split("\n\n")[0].splitlines()[2:]
    assert [line.split() for line in table] == [
        ["seeds", "cams", "2", "8", "4.0", "2.5", "90", "300", "0.5000"],
        ["seeds", "evaluate_seeds", "1", "1.0", "1.0", "90"],
        ["all", "3", "5.0", "2.5", "90", "300"],
    ]


def test_run_without_masks_leaves_the_figures_empty(tmp_path):
    rows = write_all(tmp_path, [[0, 0], [0, 0]])
    assert rows["seeds"]["miou"] == rows["segmentation"]["over_activation"] == ""


def test_stages_that_a_run_does_not_report_are_left_out(tmp_path):
    rows = write_all(tmp_path, [[6, 2], [1, 3]], stages=["segmentation"])
    assert list(rows) == ["seeds", "segmentation", "step: single scale", "step: single scale + CRF"]
    assert rows["seeds"]["miou"] == "" and float(rows["seeds"]["seconds"]) == 5  # what ran is counted


def test_what_masks_chose_stands_beside_the_figure(tmp_path):
    coarse = {"threshold": 0.1, **summary(np.array([[6, 2], [2, 2]]), ["cat"])}
    chosen = {"seeds": {"chosen_by_masks": "threshold", "at_stride_4": coarse}}
    rows = write_all(tmp_path, [[6, 2], [1, 3]], **chosen)
    assert rows["seeds"]["chosen_by_masks"] == rows["seeds of stride 4"]["chosen_by_masks"] == "threshold"
    assert float(rows["seeds of stride 4"]["miou"]) == round(100 * (6 / 10 + 2 / 6) / 2, 2)
    others = [name for name in rows if name not in ("seeds", "seeds of stride 4")]
    assert {rows[name]["chosen_by_masks"] for name in others} == {""}
    assert "val masks" not in (tmp_path / "summary.txt").read_text()
    rows = write_all(tmp_path, [[6, 2], [1, 3]], **chosen, segmentation={"chosen_by_masks": "epoch"})
    assert {rows[n]["chosen_by_masks"] for n in ("segmentation", "step: single scale")} == {"epoch"}
    assert "the epoch of its training was selected on val masks" in (tmp_path / "summary.txt").read_text()
