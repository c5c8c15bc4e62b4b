"""The rerun matrix of chaos/matrix.py: what is planned after each edit; after a few, what runs and what is computed."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from chaos.matrix import EDITS, QUICK, ran


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
