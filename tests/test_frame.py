"""Files of the frame that must agree with each other."""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from ssc.crf import BILATERAL, GAUSSIAN
from ssc.workflow.settings import IRNLabels, Prediction

ROOT = Path(__file__).parents[1]


def release_notes(version):
    """What the release of a version says, by the command of its workflow."""
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["release"]["steps"]
    (command,) = (step["run"] for step in steps if "awk" in step.get("run", ""))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "CHANGELOG.md", folder)
        subprocess.run(["bash", "-euc", command], cwd=folder, check=True, env={**os.environ, "VERSION": version})
        return (Path(folder) / "notes.md").read_text()


def test_a_release_says_what_the_changelog_says_of_it():
    text = (ROOT / "CHANGELOG.md").read_text()
    notes = release_notes("0.1.0")
    assert notes.strip() and notes in text and "\n## " not in notes
    with pytest.raises(subprocess.CalledProcessError):  # a version that the changelog does not know
        release_notes("9.9.9")


def test_version_is_stated_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version("ssc-wsss") == project["version"]
    own, of_development, _ = project["version"].partition(".dev")
    assert f"## {own}{' (unreleased)' if of_development else ''}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()


def test_crf_constants_in_code_are_the_defaults_of_the_settings():
    assert Prediction().crf.options() == {"iterations": 10, "gaussian": (1, 3), "bilateral": (67, 3, 4)}
    labels = IRNLabels().crf.options()
    assert (labels["gaussian"], labels["bilateral"]) == (GAUSSIAN, BILATERAL)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        *(("ssc.stages.masks", name) for name in ("torch", "numba", "pandas")),
        *((f"ssc.stages.{name}", "torch") for name in ("superpixels", "evaluate", "cam_threshold", "seeds")),
        *((module, "torch") for module in ("ssc.stages.index", "ssc.report.evidence", "ssc.report.metrics_table")),
        # Which torchvision, timm and the optimisers bring in.
        *(
            (f"ssc.stages.{name}", "torch._dynamo")
            for name in ("cams", "seeds", "irn_labels", "pseudo_labels", "predictions")
        ),
    ],
)
def test_jobs_start_without_what_they_do_not_use(module, heavy):
    """A shard's job of a second would else begin with seconds of imports."""
    code = f"import sys, {module}; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
