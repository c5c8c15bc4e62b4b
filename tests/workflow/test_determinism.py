"""The same bytes whatever the number of processors, from a clone or an installed package; the same results whatever the
number of shards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssc.workflow.verify import compare_runs
from tests.faults.harness import differences, results
from tests.faults.snakemake import PATIENCE, ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Where the package is installed from a wheel, which is made from the source distribution."""
    folder = tmp_path_factory.mktemp("package")

    def python(*arguments: str | Path) -> None:
        subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    python("hatchling", "build", "--target", "sdist", "--directory", folder)
    (source,) = folder.glob("*.tar.gz")
    python("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    python("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder / "site", wheel)
    return folder / "site"


@pytest.fixture(scope="module")
def other(campaign, installed):
    """The run once more, by the installed package: on one processor, its shards not two but one."""
    place = campaign.place("one")
    place.change("shards", 1)
    subprocess.run(
        [installed / "bin" / "ssc", "run", "--config", place.configfile, "--cores", "1"],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        timeout=PATIENCE,
    )
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
