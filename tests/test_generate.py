"""The files that repeat what the code says: schema, table of keys, interface, graph of stages, Slurm's arrays."""

import re
import shutil
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from docs import generate
from docs.generate import api, json_schema, key_table, main, stage_graph
from ssc.workflow.config import complete
from ssc.workflow.settings import Experiment
from ssc.workflow.stage_table import STAGES

ROOT = Path(__file__).parents[1]
SHIPPED = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]
FILES = ["config/schema.json", "docs/config.md", "docs/api.md", "docs/stages.svg", "profiles/slurm/config.yaml"]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the files that a test may edit."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(generate.ROOT / name, tmp_path / name)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_the_generated_files_are_up_to_date(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_they_are_all_there(copy):
    assert [path.relative_to(copy).as_posix() for path, _ in generate.texts()] == FILES


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config/schema.json", '"type"', '"kind"'),
        ("docs/config.md", "classifier", "sorter"),
        ("docs/api.md", "max_regions: int = 64", "max_regions: int = 32"),
        ("docs/stages.svg", ">cams<", ">maps<"),
        ("profiles/slurm/config.yaml", ", predictions", ""),
    ],
)
def test_a_stale_file_is_named_and_written_anew(copy, capsys, name, old, new):
    before = {path: Path(copy / path).read_text() for path in FILES}
    stale = before[name].replace(old, new, 1)
    assert stale != before[name]
    (copy / name).write_text(stale)
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == f"{name} is not what the code says; run: python docs/generate.py\n"
    assert (copy / name).read_text() == stale
    assert main([]) == 0
    assert {path: Path(copy / path).read_text() for path in FILES} == before


def test_of_a_page_the_part_alone_is_written(copy):
    page = copy / "profiles/slurm/config.yaml"
    page.write_text(f"# Own words.\n{page.read_text()}")
    assert main(["--check"]) == 0


def test_an_absent_file_is_written(copy):
    for name in FILES[:4]:
        (copy / name).unlink()
    assert main(["--check"]) == 1
    assert main([]) == 0 and main(["--check"]) == 0


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
    for section in Experiment.model_fields.keys() - {"seed", "weights"}:
        assert f"\n## {section}\n" in table


def test_the_reference_says_what_is_called_and_how():
    text = api()
    assert "\n### ssc.load\n\n```python\ndef load(weights: str | Path, *," in text
    assert "\n- `weights`: `segmentation.safetensors` of a run.\n" in text
    assert "class PerceptualLoss(network: nn.Module," in text and not re.search(r"\(\s*self\b", text)
    assert "| `ssc predict` | segment photos with a trained network |" in text


def test_the_drawing_has_each_stage_below_all_that_it_reads():
    drawing = ElementTree.fromstring(stage_graph())
    svg = "{http://www.w3.org/2000/svg}"
    height = {text.text.replace(" ", "_"): int(text.get("y")) for text in drawing.iter(f"{svg}text")}
    assert list(height) == list(STAGES)
    assert all(height[source] < height[name] for name, stage in STAGES.items() for source in stage.reads)
    tips = [path for path in drawing.iter(f"{svg}path") if path.get("marker-end")]
    assert len(tips) == sum(len(stage.reads) for stage in STAGES.values())
