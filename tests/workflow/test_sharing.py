"""What runs share, and what they must not do at the same time."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "workflow" / "tiny.yaml"


def command(project, folder, *arguments):
    start = [sys.executable, "-m", "snakemake", "--snakefile", project / "Snakefile", "--directory", folder]
    return [*map(str, start), "--configfile", str(TINY), "--cores", "1", *map(str, arguments)]


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
    for folder, fetched in (("one", True), ("two", False)):
        asked = command(project, tmp_path / folder, "--cache", "download_weights")
        target = "resources/weights/resnet18.safetensors"
        done = subprocess.run([*asked, "--", target], capture_output=True, text=True, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        assert ("FETCHED" in done.stdout) == fetched
        assert (tmp_path / folder / target).read_text() == "weights"


def test_a_second_run_in_the_same_folder_is_refused_with_the_way_out(tmp_path):
    first = subprocess.Popen(
        command(ROOT, tmp_path),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not list(tmp_path.glob(".snakemake/locks/*")):
            assert first.poll() is None
            time.sleep(0.05)
        second = subprocess.run(command(ROOT, tmp_path), capture_output=True, text=True, cwd=ROOT)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    said = second.stdout + second.stderr
    assert second.returncode != 0
    assert "cannot be locked" in said and "--unlock" in said and "Traceback" not in said
    # The first was killed and has left its lock: the way out is what the message says.
    freed = subprocess.run(command(ROOT, tmp_path, "--unlock"), capture_output=True, text=True, cwd=ROOT)
    assert freed.returncode == 0
    again = subprocess.run(command(ROOT, tmp_path, "--dry-run"), capture_output=True, text=True, cwd=ROOT)
    assert again.returncode == 0, again.stderr[-2000:]
