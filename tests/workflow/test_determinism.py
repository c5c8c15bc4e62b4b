"""The same bytes whatever the number of processors; the same results whatever the number of shards."""

import pytest

from ssc.workflow.verify import compare_runs
from tests.faults.harness import differences, results


@pytest.fixture(scope="module")
def other(campaign):
    """The run once more: on one processor, its shards not two but one."""
    place = campaign.place("one", cores=1)
    place.change("shards", 1)
    place.succeed()
    return place


def test_runs_with_other_processors_and_shards_have_the_same_results(campaign, other):
    found = compare_runs(*(place.folder / "results" / "tiny" / "ssc" for place in (campaign.reference, other)))
    assert {stage: phrases for stage, phrases in found.stages.items() if phrases} == {}
    assert set(found.config) <= {"shards"}
    assert len(found.stages) > 5


def test_files_that_know_no_shards_have_the_same_bytes(campaign, other):
    def whole(place):
        own = results(place.folder)
        return {path: digest for path, digest in own.items() if "-of-" not in path and "manifest" not in path}

    assert differences(whole(other), whole(campaign.reference)) == []
    assert "results/tiny/ssc/segmentation.safetensors" in whole(other)
