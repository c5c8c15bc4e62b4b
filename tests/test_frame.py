"""Files of the frame that must agree with each other."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from ssc.crf import BILATERAL, GAUSSIAN
from ssc.workflow.settings import IRNLabels, Prediction

ROOT = Path(__file__).parents[1]


def test_version_is_stated_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version("ssc-wsss") == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()


def test_every_rule_has_log_benchmark_resources_and_a_script():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"\n *rule (?=\w+:)", path.read_text())[1:]:
            name = rule.split(":", 1)[0]
            # Snakemake allows no benchmark where a result may come from its cache.
            measured = "cache:" if "cache:" in rule else "benchmark:"
            for directive in ("log:", measured, "threads:", "resources:", "mem_mb=", "runtime=", "script:"):
                assert directive in rule, f"{path.name}: {name} lacks {directive}"


def test_scripts_are_thin():
    for path in (ROOT / "workflow_scripts").glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 40, path
        assert "with job(snakemake):" in text, path


def test_crf_constants_in_code_are_the_defaults_of_the_settings():
    assert Prediction().crf.options() == {"iterations": 10, "gaussian": (1, 3), "bilateral": (67, 3, 4)}
    labels = IRNLabels().crf.options()
    assert (labels["gaussian"], labels["bilateral"]) == (GAUSSIAN, BILATERAL)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        *(("ssc.stages.masks", name) for name in ("torch", "numba", "pandas")),
        *((module, "torch") for module in ("ssc.stages.superpixels", "ssc.stages.evaluate", "ssc.data.build")),
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
