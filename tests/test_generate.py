"""The files that repeat what the code says: schema, table of keys, the README's graph, Slurm's arrays."""

import json
from functools import cache
from pathlib import Path

import pytest
import yaml

from docs import generate as module
from docs.generate import json_schema, key_table, main
from ssc.workflow.config import complete
from ssc.workflow.settings import Experiment

ROOT = Path(__file__).parents[1]
SHIPPED = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]


def test_the_generated_files_are_up_to_date(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_file_is_named_and_written_anew(tmp_path, monkeypatch, capsys):
    for name in ("README.md", "profiles/slurm/config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
    schema, table = tmp_path / "config" / "schema.json", tmp_path / "docs" / "config.md"
    assert json.loads(schema.read_text()) == json_schema() and table.read_text() == key_table()
    capsys.readouterr()
    table.write_text("old")
    profile = tmp_path / "profiles" / "slurm" / "config.yaml"
    profile.write_text(profile.read_text().replace("random_walk, ", "", 1))
    assert main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "docs/config.md" in said and "profiles/slurm" in said and "schema.json" not in said
    assert table.read_text() == "old"


@cache
def validator():
    jsonschema = pytest.importorskip("jsonschema")  # a dependency of Snakemake
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", [*SHIPPED, ROOT / "tests" / "workflow" / "tiny.yaml"], ids=lambda path: path.name)
def test_an_editor_finds_no_fault_with_the_shipped_files(path):
    assert [error.message for error in validator().iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"clasifier": {}},
        {"classifier": {"epochs": 0}},
        {"classifier": {"epochs": 1.5}},
        {"classifier": {"asm": {"erosin": 3}}},
        {"classifier": {"output_stride": 12}},
        {"classifier": {"resize_long": [1, 2, 3]}},
        {"dataset": {"kind": "voc", "train": 3}},
        {"dataset": {"kind": "vox"}},
        {"experiments": {"mine": {"shards": 3}}},
        {"experiments": {"mine": {"irn": {"crop": 33}}}},
        {"ablation": {"seeds": [1, 1]}},
        {"ablation": {"sweeps": {"s": {"kye": "irn.lr"}}}},
    ],
)
def test_an_editor_finds_faults(wrong):
    assert not validator().is_valid(wrong)


def test_the_schema_says_what_each_key_means_and_its_default():
    rules = {}
    for name, section in json_schema()["$defs"].items():
        rules |= {(name, key): rule for key, rule in section["properties"].items() if "$ref" not in rule}
    assert all(rule["description"].endswith(".") for rule in rules.values())
    assert rules["Classifier", "epochs"]["default"] == 10 and rules["Ready", "cams"]["default"] is None
    needed = {key for (_, key), rule in rules.items() if "default" not in rule}
    assert needed == {
        *("dataset", "name", "kind", "root", "train_images", "train_instances"),
        *("key", "values"),
    }


def keys(values):
    """Names of all keys that are no section."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key != "experiments":
            yield from keys(value)
        else:
            yield key


def test_the_table_names_every_key():
    table = key_table()
    rows = {line.split("|")[1].strip(" `") for line in table.splitlines() if line.startswith("| `")}
    completed = complete({"dataset": {"name": "mine", "kind": "folder", "root": "photos"}})
    assert set(keys(completed)) <= rows | {"sweeps", "experiments"}
    assert "| `lr` | `0.0005` | number > 0 | Initial learning rate of Adam for the reconstruction net. |" in table
    for section in Experiment.model_fields.keys() - {"seed"}:
        assert f"\n## {section}\n" in table
