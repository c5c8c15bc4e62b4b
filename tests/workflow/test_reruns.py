"""The rerun matrix of tests/faults/matrix.py: what is planned after each edit; after a few, what runs and what is computed."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from tests.faults.matrix import EDITS, QUICK, Edit, ran


@pytest.fixture(scope="module")
def plans(campaign):
    """By edit, the rules that a dry run would run on the finished run; two dry runs at a time."""

    def plan(number):
        place = campaign.finished(f"planned-{number}")
        EDITS[number].make(place)
        return place.planned(*EDITS[number].arguments)

    _ = campaign.reference
    with ThreadPoolExecutor(2) as pool:
        return dict(zip((edit.name for edit in EDITS), pool.map(plan, range(len(EDITS))), strict=True))


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_plans_exactly_its_rules(plans, edit):
    assert plans[edit.name] == edit.reruns


def test_an_unedited_run_is_complete(campaign):
    assert campaign.finished("unedited").planned() == set()


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit.name in QUICK], ids=lambda edit: edit.name)
def test_an_edit_runs_exactly_its_rules_and_computes_what_it_touches(campaign, edit):
    place = campaign.finished("edited")
    edit.make(place)
    assert ran(place, edit) == []


CAMS = "localrule cams:\n    output: cams.zip\n    log: cams.log\n    jobid: 1\n"
IRN = "localrule train_irn:\n    output: irn.safetensors\n    log: irn.log\n    jobid: 2\n"


@pytest.fixture
def edited(tmp_path):
    """What a call left that ran `cams` for one of three images and took over the training of IRN."""
    with ZipFile(tmp_path / "cams.zip", "w") as archive:
        for name in "abc":
            archive.writestr(f"{name}.npz", name)
    (tmp_path / "cams.log").write_text("12:00:00 1-of-2.zip: 2 of 3 members are there already.\n")
    (tmp_path / "irn.log").write_text("12:00:00 Nothing has changed: its result is kept.\n")
    return SimpleNamespace(folder=tmp_path, planned=lambda: {"cams", "train_irn"}, run=lambda: (0, CAMS + IRN))


def test_a_run_as_the_matrix_says_is_right(edited):
    assert ran(edited, Edit("x", None, {"cams", "train_irn"}, {"cams": 1, "train_irn": 0})) == []


@pytest.mark.parametrize(
    ("reruns", "computed", "sentence"),
    [
        ({"cams", "train_irn", "metrics"}, {}, "x: metrics should run and did not"),
        ({"cams"}, {}, "x: train_irn was run without need"),
        ({"cams", "train_irn"}, {"cams": 3}, "x: cams made 1 anew, not 3"),
        ({"cams", "train_irn"}, {"cams": 0}, "x: cams made 1 anew, instead of 0"),
        ({"cams", "train_irn"}, {"train_irn": 1}, "x: train_irn made 0 anew, not 1"),
    ],
)
def test_what_differs_from_the_matrix_is_told(edited, reruns, computed, sentence):
    assert ran(edited, Edit("x", None, reruns, computed)) == [sentence]


def test_a_plan_that_is_not_carried_out_is_told(edited):
    edited.planned = lambda: {"cams", "train_irn", "figures"}
    assert ran(edited, Edit("x", None, {"cams", "train_irn"})) == ["x: figures was planned and not run"]
