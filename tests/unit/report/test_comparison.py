import csv

import pytest

from ssc.report.comparison import OWN, write_comparison
from ssc.report.paper import results
from ssc.runtime.files import read_table, write_json

RESNET = {"classifier": "resnet50", "segmentation": "resnet101"}
STAGES = {"seeds": ("train", 1464, 0.5712), "pseudo-labels": ("train", 1464, 0.71), "segmentation": ("val", 1449, 0.73)}


def compare(tmp_path, *, kind="voc", backbones=RESNET, trained=None, stages=STAGES, **facts):
    """Rows of the table and the lines of the Markdown."""
    figures = {}
    for stage, (split, images, miou) in stages.items():
        figures[stage] = tmp_path / f"{stage}.json"
        write_json(figures[stage], {"stage": stage, "split": split, "images": images, "miou": miou, **facts})
    out = {"table": tmp_path / "comparison.tsv", "markdown": tmp_path / "comparison.md"}
    write_comparison(figures=figures, dataset="mine", kind=kind, backbones=backbones, trained=trained or {}, **out)
    rows = read_table(out["table"]).fillna("").to_dict("records")
    return rows, out["markdown"].read_text().splitlines()


def own(rows):
    return {(row["table"], row["measure"], row["split"]): row for row in rows if row["method"] == OWN}


@pytest.mark.parametrize(
    ("kind", "backbone", "tables"),
    [
        ("voc", "resnet101", ["II", "IV"]),
        ("voc", "resnet50", ["II", "IV"]),
        ("voc", "vgg16", ["II", "III"]),
        ("coco", "resnet101", ["VI"]),
        ("coco", "vgg16", ["V"]),
    ],
)
def test_every_row_of_the_papers_tables_is_there_in_order(tmp_path, kind, backbone, tables):
    rows, lines = compare(tmp_path, kind=kind, backbones={**RESNET, "segmentation": backbone})
    theirs = [
        (r["table"], r["method"], r["backbone"], r["split"], float(r["miou"])) for r in rows if r["method"] != OWN
    ]
    paper = [(r.table, r.method, r.backbone, r.split, r.value) for r in results().itertuples() if r.table in tables]
    assert theirs == paper
    for table, method, name, _, value in paper:
        line = next(x for x in lines if x.startswith(f"| {method} |") and f"| {name} |" in x and f" {value:.1f} " in x)
        section = [x for x in lines[: lines.index(line)] if x.startswith("## ")][-1]
        assert section.startswith(f"## Table {table}: ")


def test_ours_stand_below_the_papers_with_the_difference(tmp_path):
    rows, lines = compare(tmp_path)
    found = own(rows)
    assert set(found) == {
        ("II", "seeds", "train"),
        ("II", "pseudo-labels", "train"),
        ("IV", "segmentation", "val"),
        ("IV", "segmentation", "test"),
    }
    assert [(row["miou"], row["difference"], row["images"], row["backbone"]) for row in found.values()] == [
        ("57.12", "-1.18", "1464", "R50"),
        ("71.00", "-0.90", "1464", "R50"),
        ("73.00", "+0.30", "1449", "R101"),
        ("", "", "", "R101"),  # the server's
    ]
    for row in found.values():
        above = rows[rows.index(row) - 1]
        assert (above["method"], above["measure"], above["split"]) == ("SSC", row["measure"], row["split"])
    assert "| **this run** | I | R50 | 57.12 (-1.18) | 71.00 (-0.90) |" in lines
    assert "| **this run** | I | R101 | 73.00 (+0.30) |  |" in lines
    assert any("segmentation on 1449 images (val)" in line for line in lines)
    assert not any("other data" in line for line in lines)


def test_columns_of_the_text_belong_to_their_headings(tmp_path):
    _, lines = compare(tmp_path)
    start = lines.index("| method | supervision | backbone | segmentation, val | segmentation, test |")
    table = list(csv.reader([line.strip("| ").replace(" | ", "|") for line in lines[start + 2 :]], delimiter="|"))
    cells = {(row[0], row[2]): row[3:] for row in table if len(row) == 5}
    assert cells["BECO", "R101"] == ["72.1", "71.8"]
    assert cells["SSC", "R101"] == ["72.7", "72.8"]


def test_on_other_data_ours_stand_beside_ssc_without_a_difference(tmp_path):
    rows, lines = compare(tmp_path, kind="folder", backbones={"classifier": "tiny", "segmentation": "tiny"})
    assert {row["method"] for row in rows} == {"SSC", OWN}
    assert {row["table"] for row in rows} == {"II", "IV", "VI"}
    assert all(row["difference"] == "" for row in rows)
    assert own(rows)["VI", "segmentation", "val"]["miou"] == "73.00"
    assert own(rows)["II", "seeds", "train"]["backbone"] == "tiny"
    assert any("other data than mine" in line for line in lines)


def test_what_the_paper_does_not_report_comes_last(tmp_path):
    rows, lines = compare(tmp_path, kind="coco")
    assert [(row["table"], row["measure"], row["miou"]) for row in rows[-2:]] == [
        ("", "seeds", "57.12"),
        ("", "pseudo-labels", "71.00"),
    ]
    assert "## Not in the paper's tables" in lines
    rows, _ = compare(tmp_path, stages={"segmentation": ("train", 9, 0.5)})
    assert own(rows)["IV", "segmentation", "val"]["miou"] == ""
    assert own(rows)["", "segmentation", "train"]["miou"] == "50.00"


def test_what_was_not_measured_stays_empty(tmp_path):
    rows, lines = compare(tmp_path, stages={"segmentation": ("test", 0, None)})
    assert {row["miou"] for row in own(rows).values()} == {row["difference"] for row in own(rows).values()} == {""}
    assert any("nothing was measured" in line for line in lines)
    assert "## Not in the paper's tables" not in lines


def test_ready_weights_tell_their_backbone(tmp_path):
    facts = {"parts": {"segmentation": {"options": {"backbone": "vgg16"}}}}
    write_json(tmp_path / "facts.json", facts)
    rows, _ = compare(
        tmp_path, backbones={"segmentation": "resnet101"}, trained={"segmentation": tmp_path / "facts.json"}
    )
    assert own(rows)["III", "segmentation", "val"]["backbone"] == "VGG16"
    assert own(rows)["II", "seeds", "train"]["backbone"] == ""


def test_a_segmentation_that_was_selected_on_masks_says_so(tmp_path):
    told = "The epoch of the segmentation's training was selected on val masks."
    assert told in compare(tmp_path, chosen_by_masks="epoch")[1]
    assert told not in compare(tmp_path, chosen_by_masks="threshold")[1]
