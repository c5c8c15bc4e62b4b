import csv

import pytest

from ssc.report.paper import ABLATION, ablation_value, results


def numbers():
    return list(results().itertuples())


def test_numbers_that_the_text_of_the_paper_names():
    found = {(r.dataset, r.measure, r.split, r.backbone): r.value for r in numbers() if r.method == "SSC"}
    assert found[("voc12", "seeds", "train", "R50")] == 58.3
    assert found[("voc12", "pseudo-labels", "train", "R50")] == 71.9
    assert found[("voc12", "segmentation", "val", "R101")] == 72.7
    assert found[("voc12", "segmentation", "test", "R101")] == 72.8
    assert found[("voc12", "segmentation", "test", "VGG16")] == 67.4
    assert found[("coco14", "segmentation", "val", "R101")] == 47.0
    assert found[("coco14", "segmentation", "val", "VGG16")] == 38.1


def test_ablation_values_grow_in_the_order_of_the_paper():
    table = ["baseline", "drs", "cdr_early", "cdr", "asm_without_ras", "ssc"]
    assert [ablation_value(name)[1] for name in table] == [48.3, 50.2, 52.3, 54.5, 57.2, 58.3]
    assert ablation_value("drs") == ("VII, VIII", 50.2)
    assert ablation_value("cdr_l1") == ("VIII", 51.3)
    assert ablation_value("cdr_l2") == ("VIII", 50.9)
    assert ablation_value("mine") is None


def test_an_experiment_has_one_value_in_all_its_tables():
    values = {(r.table, r.method): r.value for r in numbers()}
    for rows in ABLATION.values():
        assert len({values[row] for row in rows}) == 1


def test_results_are_those_that_were_given(shared_data):
    with (shared_data.parent / "paper" / "results.tsv").open() as handle:
        given = list(csv.DictReader(handle, delimiter="\t"))
    own = {(r.table, r.method, r.supervision, r.backbone, r.split): r.value for r in numbers()}
    seen = set()
    for row in given:
        method = row["method"].replace("SSC (Ours)", "SSC")
        train = row["table"] in ("VII", "VIII", "IX")
        for column in ("val", "test"):
            if row[column]:
                supervision = row["supervision"] or "I"  # Table IX states none
                key = (row["table"], method, supervision, row["backbone"], "train" if train else column)
                assert own[key] == pytest.approx(float(row[column].rstrip("G")))
                seen.add(key)
    assert {key for key in own if key[0] != "II"} == seen
