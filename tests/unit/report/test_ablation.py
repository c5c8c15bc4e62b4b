import csv

import numpy as np
import pandas as pd
import pytest

from ssc.report.ablation import read_seed_figures, write_ablation
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_table, write_json, write_table

MIOU = {
    "baseline": [0.40, 0.50, 0.45],
    "ssc": [0.44, 0.55, 0.51],
    "mine": [0.30, 0.60, 0.45],
}


def regions(score: float) -> pd.DataFrame:
    """Regions of two images, of which the first is 0.1 better and the second 0.1 worse than `score`."""
    lines = [("x", 0, score + 0.1), ("x", 2, score + 0.1), ("y", 0, score - 0.1), ("y", 2, score - 0.1)]
    table = pd.DataFrame([(name, label, round(100 * iou), 100) for name, label, iou in lines])
    return table.set_axis(["id", "class", "intersection", "union"], axis=1)


@pytest.fixture
def files(tmp_path):
    """Seed figures of three experiments over three random seeds."""
    paths = {}
    for name, scores in MIOU.items():
        paths[name] = []
        for seed, score in enumerate(scores):
            path = tmp_path / f"{name}-{seed}.json"
            figures = {"miou": score, "over_activation": score / 2, "under_activation": 1 - score}
            parts = {"boundary": score / 4, "small": score / 3, "medium": None, "large": score / 2}
            write_json(path, figures | {"at_fixed_threshold": {"miou": score - 0.1, **parts}})
            write_json(tmp_path / f"{name}-{seed}-val.json", {"map": score + 0.2, "split": "val"})
            write_json(tmp_path / f"{name}-{seed}-labels.json", {"miou": score + 0.1, **parts})
            write_table(path.with_suffix(".tsv"), regions(score))
            paths[name].append(path)
    return paths


def write(tmp_path, experiments, *, later=False):
    table, markdown = tmp_path / "table.tsv", tmp_path / "table.md"
    classifiers = {
        name: [path.with_name(f"{path.stem}-val.json") for path in files] for name, files in experiments.items()
    }
    classifiers["mine"] = []  # whose CAMs stood ready
    stages = {}
    for name, figures in experiments.items():
        tables = [path.with_suffix(".tsv") for path in figures]
        stages[name] = {"seeds": {"figures": figures, "regions": tables}}
        if later:
            labels = [tmp_path / f"{path.stem}-labels.json" for path in figures]
            stages[name]["pseudo_labels"] = {"figures": labels, "regions": tables}
    write_ablation(
        experiments=stages,
        classifiers=classifiers,
        table=table,
        stages=tmp_path / "stages.tsv",
        markdown=markdown,
        dataset="scenes",
    )
    with table.open() as handle:
        return {row["experiment"]: row for row in csv.DictReader(handle, delimiter="\t")}, markdown.read_text()


def test_mean_deviation_and_paired_gain(files, tmp_path):
    rows, markdown = write(tmp_path, files)
    for name, scores in MIOU.items():
        row, scores = rows[name], 100 * np.array(scores)
        assert row["seeds"] == "3"
        assert float(row["miou"]) == pytest.approx(scores.mean(), abs=0.005)
        assert float(row["miou_std"]) == pytest.approx(np.sqrt(((scores - scores.mean()) ** 2).sum() / 2), abs=0.005)
        assert float(row["over_activation"]) == pytest.approx(scores.mean() / 2, abs=0.005)
        assert float(row["under_activation"]) == pytest.approx(100 - scores.mean(), abs=0.005)
        assert float(row["at_threshold"]) == pytest.approx(scores.mean() - 10, abs=0.005)
    assert (rows["baseline"]["map"], rows["baseline"]["map_std"], rows["mine"]["map"]) == ("65.00", "5.00", "")
    # The differences 4, 5, 6 scatter by 1, though the scores themselves scatter by five.
    assert (rows["ssc"]["gain"], rows["ssc"]["gain_std"]) == ("5.00", "1.00")
    assert rows["baseline"]["gain"] == ""
    assert "| ssc | 3 | 50.00 ± 5.57 | 5.00 ± 1.00 |" in markdown


def test_the_papers_value_stands_beside_ours(files, tmp_path):
    rows, markdown = write(tmp_path, files)
    assert (rows["ssc"]["paper_table"], rows["ssc"]["paper_miou"]) == ("VII", "58.3")
    assert float(rows["ssc"]["difference"]) == pytest.approx(50 - 58.3)
    assert float(rows["ssc"]["paper_gain"]) == pytest.approx(10.0)
    assert rows["mine"]["paper_miou"] == rows["mine"]["difference"] == ""
    assert "scenes" in markdown
    assert "58.3" in markdown


def test_one_seed_has_no_deviation_and_no_baseline_no_gain(files, tmp_path):
    rows, _ = write(tmp_path, {"ssc": files["ssc"][:1]})
    assert rows["ssc"]["miou"] == "44.00"
    assert rows["ssc"]["miou_std"] == rows["ssc"]["gain"] == ""


def test_without_masks_there_is_nothing_to_compare(tmp_path):
    write_json(tmp_path / "seeds.json", {"miou": None})
    with pytest.raises(InputError, match=r"seeds\.json measured nothing"):
        read_seed_figures(tmp_path / "seeds.json")


def test_the_table_follows_the_experiments_as_far_as_it_is_asked_to(files, tmp_path):
    rows, markdown = write(tmp_path, files)
    assert rows["ssc"]["pseudo_labels"] == "" and "pseudo-labels" not in markdown
    rows, markdown = write(tmp_path, files, later=True)
    assert (rows["ssc"]["pseudo_labels"], rows["ssc"]["pseudo_labels_std"]) == ("60.00", "5.57")
    assert "pseudo-labels" in markdown and "| segmentation" not in markdown


def test_the_stages_have_their_gain_its_interval_and_their_parts(files, tmp_path):
    _, markdown = write(tmp_path, files, later=True)
    rows = read_table(tmp_path / "stages.tsv").fillna("").set_index(["experiment", "stage"])
    own = rows.loc[("ssc", "seeds")]
    assert (own["miou"], own["gain"], own["gain_std"]) == ("40.00", "5.00", "1.00")  # at the fixed threshold
    assert (own["boundary"], own["small"], own["medium"], own["large"]) == ("12.50", "16.67", "", "25.00")
    assert rows.loc[("ssc", "pseudo_labels")]["miou"] == "60.00"
    # Each image of ssc is better than the baseline's by 4, 5 and 6, whichever are drawn.
    assert (own["gain_low"], own["gain_high"]) == ("+5.00", "+5.00")
    assert (rows.loc[("baseline", "seeds")]["gain"], rows.loc[("baseline", "seeds")]["gain_low"]) == ("", "")
    assert "| ssc | seeds | 3 | 40.00 ± 5.57 | 5.00 ± 1.00 | +5.00 to +5.00 |" in markdown
    assert "| boundary IoU | small | large |" in markdown  # none is of medium size


def test_without_a_baseline_there_is_no_interval(files, tmp_path):
    write(tmp_path, {"ssc": files["ssc"]})
    assert read_table(tmp_path / "stages.tsv")[["gain", "gain_low", "gain_high"]].isna().all(axis=None)


def test_without_a_mask_or_on_other_images_there_is_no_interval(files, tmp_path):
    nothing = {"miou": None, "boundary": None, "split": "val"}
    for path in [path for paths in files.values() for path in paths]:
        write_json(tmp_path / f"{path.stem}-labels.json", nothing)
        write_table(path.with_suffix(".tsv"), regions(0.5).iloc[:0])
    write(tmp_path, files, later=True)
    rows = read_table(tmp_path / "stages.tsv").set_index(["experiment", "stage"])
    assert rows.loc[("ssc", "pseudo_labels"), ["miou", "gain", "gain_low"]].isna().all()
    for path in files["baseline"]:
        write_table(path.with_suffix(".tsv"), regions(0.5))
    for number, path in enumerate(files["ssc"]):
        write_table(path.with_suffix(".tsv"), regions(0.6).replace({"id": {"y": "z"}} if number else {}))
        write_json(tmp_path / f"{path.stem}-labels.json", {"miou": 0.6, "split": "train"})
    write(tmp_path, {name: files[name] for name in ("baseline", "ssc")}, later=True)
    rows = read_table(tmp_path / "stages.tsv").set_index(["experiment", "stage"])
    assert rows.loc[("ssc", "seeds"), ["gain_low", "gain_high"]].isna().all()
    assert rows.loc[("ssc", "pseudo_labels"), "miou"] == "60.00"
    assert rows.loc[("ssc", "pseudo_labels"), ["gain", "gain_low"]].isna().all()  # another split
