"""Files of the frame that must agree with each other."""

import tomllib
from importlib.metadata import version
from pathlib import Path

from ssc.crf import BILATERAL, GAUSSIAN
from ssc.prediction import CRF_DEFAULTS
from ssc.workflow.config import load_schema

ROOT = Path(__file__).parents[2]


def test_version_is_stated_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version("ssc") == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()


def test_every_rule_has_log_benchmark_resources_and_a_script():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in path.read_text().split("\nrule ")[1:]:
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


def test_crf_constants_in_code_are_the_defaults_of_the_schema():
    sections = load_schema(ROOT / "config" / "schema.yaml")["properties"]

    def defaults(section):
        rules = sections[section]["properties"]["crf"]["properties"]
        return {name: rule["default"] for name, rule in rules.items()}

    test_time, labels = defaults("prediction"), defaults("irn_labels")
    del test_time["enabled"]
    assert test_time == CRF_DEFAULTS
    assert (labels["gaussian_sxy"], labels["gaussian_weight"]) == GAUSSIAN
    assert tuple(labels[f"bilateral_{name}"] for name in ("sxy", "srgb", "weight")) == BILATERAL
