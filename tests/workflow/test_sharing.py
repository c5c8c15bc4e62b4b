"""What runs share, and what they must not do at the same time."""

import os
import shutil
import signal
import time

import pytest

from tests.faults.snakemake import ROOT, Place


@pytest.fixture
def project(tmp_path):
    """The project, with a script in place of the download that notes when it runs."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("config", "config.yaml", "envs", "report"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("rules", "workflow_scripts"):
        shutil.copytree(ROOT / name, folder / name)
    script = "from pathlib import Path\nPath(snakemake.output[0]).write_text('weights')\nprint('FETCHED')\n"
    (folder / "workflow_scripts" / "download_weights.py").write_text(script)
    return folder


def test_downloaded_weights_are_shared_through_snakemakes_cache(project, tmp_path):
    (tmp_path / "cache").mkdir()
    environment = {**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(tmp_path / "cache")}
    target = "resources/weights/resnet18.safetensors"
    for folder, fetched in (("one", True), ("two", False)):
        text = Place(tmp_path / folder, project).succeed(target, "--cache", "download_weights", environment=environment)
        assert ("FETCHED" in text) == fetched
        assert (tmp_path / folder / target).read_text() == "weights"


def test_a_second_run_in_the_same_folder_is_refused_with_the_way_out(tmp_path):
    place = Place(tmp_path / "run", cores=1)
    first = place.start(tmp_path / "first.txt")
    try:
        while not list(place.folder.glob(".snakemake/locks/*")):
            assert first.poll() is None
            time.sleep(0.05)
        status, said = place.run()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert status != 0
    assert "cannot be locked" in said and "--unlock" in said and "Traceback" not in said
    # The first was killed and has left its lock: the way out is what the message says.
    place.unlock()
    assert place.planned()
