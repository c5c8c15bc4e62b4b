import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from ssc.cli import main
from ssc.runtime.errors import InputError
from ssc.runtime.files import file_digest, write_json, write_table
from ssc.workflow.manifest import write_manifest
from ssc.workflow.register import compare_with_register, read_register, register_run

DATASET = {"name": "tiny", "kind": "voc", "root": "data/tiny", "sbd": None}
CONFIG = {"device": "cpu", "precision": "fp32", "seed": 3, "shards": 2, "dataset": DATASET}
REGISTER = Path(__file__).parents[3] / "docs" / "results.jsonl"


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Make a finished run in a working directory of its own; the folder of the run."""

    def make(name="first", *, miou="45.50", weights="network", config=CONFIG):
        folder = tmp_path / name
        run = folder / "results" / "tiny" / "ssc"
        run.mkdir(parents=True)
        monkeypatch.chdir(folder)
        (run / "classifier.safetensors").write_text(weights)
        (folder / "start.safetensors").write_text("start")
        write_json(run / "seeds.json", {"miou": miou})
        columns = ["stage", "split", "images", "miou", "over_activation", "under_activation", "seconds"]
        columns += ["chosen_by_masks", "iou_cat"]
        rows = [
            ("classifier", None, None, None, None, None, "3.1", None, None),
            ("seeds", "train", "12", miou, "16.46", "29.72", "4.0", "threshold", "33.00"),
            ("baseline: image label", "train", None, "10.64", None, None, None, None, None),
        ]
        write_table(run / "metrics.tsv", pd.DataFrame(rows, columns=columns))
        files = {
            "initial_weights": ["start.safetensors"],
            "classifier": ["results/tiny/ssc/classifier.safetensors"],
            "seeds": ["results/tiny/ssc/seeds.json"],
        }
        write_manifest(run / "manifest.json", config=config, experiment="ssc", files=files)
        os.utime(run / "manifest.json", (datetime(2026, 11, 5, 23, tzinfo=UTC).timestamp(),) * 2)
        return run

    return make


def edit(register, change, line=0):
    lines = register.read_text().splitlines()
    entry = json.loads(lines[line])
    change(entry)
    lines[line] = json.dumps(entry)
    register.write_text("\n".join(lines) + "\n")


def test_an_entry_says_what_a_run_came_to_and_who_made_it(make_run, tmp_path, capsys):
    run, register = make_run(), tmp_path / "results.jsonl"
    assert main(["register", str(run), "--who", "Zoë", "--to", str(register)]) == 0
    assert "Added tiny/ssc" in capsys.readouterr().out
    (entry,) = read_register(register)
    manifest = json.loads((run / "manifest.json").read_text())
    assert (entry.name, entry.who, entry.date) == ("tiny/ssc", "Zoë", date(2026, 11, 5))
    assert (entry.seed, entry.config, entry.config_digest) == (3, CONFIG, manifest["config_digest"])
    assert (entry.commit, entry.ssc) == (manifest["commit"], manifest["ssc"])
    assert entry.machine.packages == manifest["packages"] and entry.machine.device == "cpu"
    seeds, baseline = entry.metrics
    assert (seeds.stage, seeds.split, seeds.images, seeds.miou) == ("seeds", "train", 12, 45.5)
    assert (seeds.over_activation, seeds.under_activation, seeds.chosen_by_masks) == (16.46, 29.72, "threshold")
    assert (baseline.stage, baseline.images, baseline.miou) == ("baseline: image label", None, 10.64)
    assert entry.weights == {
        "initial_weights/start.safetensors": file_digest(run.parents[2] / "start.safetensors"),
        "classifier/classifier.safetensors": file_digest(run / "classifier.safetensors"),
    }
    assert entry.manifest == file_digest(run / "manifest.json")
    assert "Zoë" in register.read_text()


def test_lines_are_added_and_none_is_written_twice(make_run, tmp_path, capsys):
    run, register = make_run(), tmp_path / "results.jsonl"
    register_run(run, register, who="Ann")
    first = register.read_text()
    with pytest.raises(InputError, match=r"has this run of Ann already"):
        register_run(run / "manifest.json", register, who="Ann")
    assert register.read_text() == first
    register_run(run, register, who="Ben")  # whose run came to the same, manifest and all
    register_run(make_run("second", config={**CONFIG, "seed": 4}), register, who="Ann")
    assert register.read_text().startswith(first)
    assert [(entry.who, entry.seed) for entry in read_register(register)] == [("Ann", 3), ("Ben", 3), ("Ann", 4)]
    assert main(["verify", str(register)]) == 0
    assert capsys.readouterr().out.startswith("Entries: 3,")


def test_names_and_empty_files_of_any_kind(make_run, tmp_path, capsys):
    run, register = make_run(), tmp_path / "results.jsonl"
    register.touch()
    assert main(["verify", str(register)]) == 0 and capsys.readouterr().out.startswith("Entries: 0,")
    with pytest.raises(InputError, match="only of none"):
        compare_with_register(register, run)
    for who in ("Ann\u2028Lee\x85", 'a "b"\n'):
        register_run(run, register, who=who)
        assert read_register(register)[-1].who == who
    for who in ("", " "):
        with pytest.raises(InputError, match="--who is empty"):
            register_run(run, register, who=who)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda entry: entry.pop("who"), "line 2: who: Field required"),
        (lambda entry: entry.update(who=""), "line 2: who: String should have at least 1"),
        (lambda entry: entry.update(note="x"), "line 2: note: Extra inputs are not permitted"),
        (lambda entry: entry.update(seed="3"), "line 2: seed: Input should be a valid integer"),
        (lambda entry: entry.update(seed=5), "line 2: seed is not that of config"),
        (lambda entry: entry.update(manifest="abc"), "line 2: manifest: String should match"),
        (lambda entry: entry["weights"].update(x="1"), "line 2: weights.x: String should match"),
        (lambda entry: entry["metrics"][0].update(miou=145.5), "line 2: metrics.0.miou: Input should be less"),
        (lambda entry: entry.update(metrics=[]), "line 2: metrics: List should have at least 1"),
        (lambda entry: entry["config"].update(device="cuda"), "line 2: config_digest is not that of config"),
        (lambda entry: entry["config"].pop("dataset"), "line 2: config has no dataset"),
        (lambda entry: entry.update(config_digest="0" * 16), "line 2: config_digest is not that of config"),
        (lambda entry: entry.update(who="Ann"), "line 2: the run of line 1"),
    ],
)
def test_faults_of_a_line_are_told(make_run, tmp_path, capsys, change, sentence):
    run, register = make_run(), tmp_path / "results.jsonl"
    register_run(run, register, who="Ann")
    register_run(run, register, who="Ben")
    edit(register, change, line=1)
    before = register.read_text()
    assert main(["verify", str(register)]) == 2
    assert f"{register}, {sentence}" in capsys.readouterr().err
    for arguments in (["verify", str(register), str(run)], ["register", str(run), "--who", "C", "--to", str(register)]):
        assert main(arguments) > 0
        assert sentence in capsys.readouterr().err
    assert register.read_text() == before


def test_what_is_no_register_is_refused_and_stays(make_run, tmp_path, capsys):
    run, register = make_run(), tmp_path / "notes.jsonl"
    register.write_text("my notes\n\n")
    assert main(["register", str(run), "--who", "Ann", "--to", str(register)]) == 1
    error = capsys.readouterr().err
    assert "has 2 faults" in error and "line 1: Invalid JSON" in error
    assert register.read_text() == "my notes\n\n"
    assert main(["verify", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl does not exist" in capsys.readouterr().err


def test_a_run_that_came_to_the_same(make_run, tmp_path, capsys):
    register = tmp_path / "results.jsonl"
    register_run(make_run(), register, who="Ann")
    # Another's photos lie elsewhere, and `auto` stands for the same device here.
    run = make_run("second", config=CONFIG | {"device": "auto", "shards": 9, "dataset": DATASET | {"root": "/mnt/voc"}})
    ((entry, metrics, weights, machine),) = compare_with_register(register, run)
    assert (entry.who, metrics, weights, machine) == ("Ann", {}, [], {})
    assert main(["verify", str(register), str(run)]) == 0
    told = capsys.readouterr().out
    assert "tiny/ssc by Ann, 2026-11-05" in told and "Figures in %: the same" in told and "Weights: the same" in told


def test_a_run_that_differs_says_in_what_and_by_how_much(make_run, tmp_path, capsys):
    register = tmp_path / "results.jsonl"
    register_run(make_run(), register, who="Ann")
    edit(register, lambda entry: entry["machine"]["packages"].update(torch="1.0"))
    run = make_run("second", miou="45.75", weights="another network")
    ((_, metrics, weights, machine),) = compare_with_register(register, run)
    assert metrics == {"seeds (train) miou": (45.5, 45.75)}
    assert weights == ["classifier/classifier.safetensors"]
    assert list(machine) == ["torch"]
    assert main(["verify", str(register), str(run)]) == 1
    told = capsys.readouterr().out
    assert "seeds (train) miou: 45.5 | 45.75 (+0.25)" in told and "classifier/classifier.safetensors" in told


def test_a_row_of_one_side_alone_is_a_difference(make_run, tmp_path, capsys):
    run, register = make_run(), tmp_path / "results.jsonl"
    register_run(run, register, who="Ann")
    edit(register, lambda entry: entry["metrics"].pop())
    assert main(["verify", str(register), str(run)]) == 1
    assert "baseline: image label (train) miou: None | 10.64" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"seed": 4}, {"dataset": DATASET | {"sbd": "data/sbd"}}])
def test_there_must_be_an_entry_of_the_same_configuration(make_run, tmp_path, capsys, other):
    register = tmp_path / "results.jsonl"
    register_run(make_run(), register, who="Ann")
    run = make_run("second", config=CONFIG | other)
    assert main(["verify", str(register), str(run)]) == 2
    assert "has no entry of the configuration of" in capsys.readouterr().err


def with_other_settings(run):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["seed"] = 5
    write_json(run / "manifest.json", manifest)


def without_masks(run):
    table = run / "metrics.tsv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if line[:5] in ("stage", "class")))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda run: (run / "seeds.json").write_text("{}"), "ssc/seeds.json is changed"),
        (lambda run: (run / "manifest.json").unlink(), "manifest.json does not exist"),
        (lambda run: (run / "metrics.tsv").unlink(), "metrics.tsv does not exist"),
        (lambda run: (run / ".metrics.tsv.sha256").write_text("0"), "metrics.tsv is damaged, or was changed by hand"),
        (without_masks, "metrics.tsv has no mIoU"),
        (with_other_settings, "config is not that of config_digest"),
    ],
)
def test_a_run_that_proves_nothing_is_not_registered(make_run, tmp_path, change, sentence):
    run, register = make_run(), tmp_path / "results.jsonl"
    change(run)
    with pytest.raises(InputError, match=sentence):
        register_run(run, register, who="Ann")
    assert not register.exists()


def test_the_register_of_this_project_has_no_faults():
    assert read_register(REGISTER)
