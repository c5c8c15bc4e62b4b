"""The rerun matrix of tests/faults/matrix.py: what several edits at once plan; after one, what runs and is computed."""

from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from tests.faults.matrix import EDITS, QUICK, Edit, ran

DIRECT = [edit for edit in EDITS if edit.hits]


def edited(campaign, name, edits):
    """A finished run with these edits, for a dry run."""
    place = campaign.finished(name)
    for edit in edits:
        edit.make(place)
    return place


def test_edits_that_change_no_number_plan_nothing(campaign):
    edits = [edit for edit in EDITS if not edit.reruns]
    assert len(edits) >= 9
    assert edited(campaign, "nothing", edits).planned() == set()


@pytest.mark.parametrize("edits", [DIRECT[::2], DIRECT[1::2]], ids=["even", "odd"])
def test_edits_hit_their_rules_and_plan_what_follows(campaign, request, edits):
    """In each half each rule is hit by the edit that is meant for it; `make chaos` makes the edits one by one."""
    place = edited(campaign, f"planned-{request.node.callspec.id}", edits)
    rules = {output: job.rule for job in campaign.reference_jobs for output in job.outputs}
    changed = place.succeed("--list-changes", "params").splitlines()
    assert {rules[line] for line in changed if line in rules} == set().union(*(edit.hits for edit in edits))
    assert place.planned() == set().union(*(edit.reruns for edit in edits))


def test_what_an_edit_hits_runs():
    for edit in EDITS:
        assert edit.hits <= edit.reruns


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit.name in QUICK], ids=lambda edit: edit.name)
def test_an_edit_runs_exactly_its_rules_and_computes_what_it_touches(campaign, edit):
    place = campaign.finished("edited")
    edit.make(place)
    assert ran(place, edit) == []


CAMS = "localrule cams:\n    output: cams.zip\n    log: cams.log\n    jobid: 1\n"
IRN = "localrule train_irn:\n    output: irn.safetensors\n    log: irn.log\n    jobid: 2\n"


@pytest.fixture
def call(tmp_path):
    """What a call left that ran `cams` for one of three images and restored the training of IRN."""
    with ZipFile(tmp_path / "cams.zip", "w") as archive:
        for name in "abc":
            archive.writestr(f"{name}.npz", name)
    (tmp_path / "cams.log").write_text("12:00:00 1-of-2.zip: 2 of 3 members are there already.\n")
    (tmp_path / "irn.log").write_text("12:00:00 Nothing has changed: its result is restored from the cache.\n")
    return SimpleNamespace(folder=tmp_path, planned=lambda: {"cams", "train_irn"}, run=lambda: (0, CAMS + IRN))


def test_a_run_as_the_matrix_says_is_right(call):
    assert ran(call, Edit("x", None, {"cams", "train_irn"}, computed={"cams": 1, "train_irn": 0})) == []


@pytest.mark.parametrize(
    ("reruns", "computed", "message"),
    [
        ({"cams", "train_irn", "metrics"}, {}, "x: metrics should run and did not"),
        ({"cams"}, {}, "x: train_irn was run without need"),
        ({"cams", "train_irn"}, {"cams": 3}, "x: cams made 1 anew, not 3"),
        ({"cams", "train_irn"}, {"cams": 0}, "x: cams made 1 anew, instead of 0"),
        ({"cams", "train_irn"}, {"train_irn": 1}, "x: train_irn made 0 anew, not 1"),
    ],
)
def test_what_differs_from_the_matrix_is_told(call, reruns, computed, message):
    assert ran(call, Edit("x", None, reruns, computed=computed)) == [message]


def test_a_plan_that_is_not_carried_out_is_told(call):
    call.planned = lambda: {"cams", "train_irn", "figures"}
    assert ran(call, Edit("x", None, {"cams", "train_irn"})) == ["x: figures was planned and not run"]
