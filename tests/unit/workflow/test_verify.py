import json
import os

import numpy as np
import pytest
import torch

from ssc import archive
from ssc.cli import main
from ssc.models.weights import save_weights
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json
from ssc.workflow.manifest import write_manifest
from ssc.workflow.verify import check_run, compare_runs

CONFIG = {
    "device": "cpu",
    "precision": "fp32",
    "seed": 0,
    "shards": 2,
    "irn": {"beta": 10, "scales": [1, 2]},
    "cams": {"drs": True},
}
STAGES = ("data", "initial_weights", "classifier", "cams", "seeds")


def label_map(name):
    return np.full((3, 4), ord(name), np.uint8)


def network(value=0.5):
    layer = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(layer.weight, value)
    torch.nn.init.constant_(layer.bias, 0)
    return layer


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Make a run in a working directory of its own; the folder of the run."""

    def make(
        name,
        *,
        shards=2,
        experiment="ssc",
        config=CONFIG,
        labels=label_map,
        weight=0.5,
        classes=("cat",),
        miou=0.5,
    ):
        folder = tmp_path / name
        (folder / "resources").mkdir(parents=True)
        monkeypatch.chdir(folder)
        own = f"results/tiny/{experiment}"
        files = {stage: [] for stage in STAGES}

        def json_file(stage, path, value):
            write_json(path, value)
            files[stage].append(path)

        json_file("data", "results/tiny/index.tsv", ["a", "b", "c", "d"])
        (folder / "resources" / "start.safetensors").write_bytes(b"start")
        files["initial_weights"].append("resources/start.safetensors")
        files["classifier"].append(f"{own}/classifier.safetensors")
        save_weights(files["classifier"][0], {"classifier": (network(weight), {})}, classes=list(classes))
        for number in range(shards):
            shard = f"{number + 1}-of-{shards}"
            with archive.write(f"{own}/cams/{shard}.zip") as writer:
                for image in "abcd"[number::shards]:
                    writer.add_labels(image, labels(image))
            files["cams"].append(f"{own}/cams/{shard}.zip")
            json_file("seeds", f"{own}/seeds/{shard}.json", {"images": len("abcd"[number::shards])})
        json_file("seeds", f"{own}/seeds.json", {"miou": miou})
        write_manifest(f"{own}/manifest.json", config={**config, "shards": shards}, experiment=experiment, files=files)
        return folder / own

    return make


def edit_manifest(run, edit):
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def differing(comparison):
    return [stage for stage, phrases in comparison.stages.items() if phrases]


def test_a_run_as_its_manifest_says(make_run, capsys):
    run = make_run("a")
    assert set(check_run(run).values()) == {"same"}
    assert check_run(run / "manifest.json") == check_run(run)
    assert main(["verify", str(run)]) == 0
    assert "8 of 8 files are as the manifest of" in capsys.readouterr().out


def test_a_run_is_found_from_any_folder(make_run, tmp_path, monkeypatch):
    run = make_run("a")
    for folder in (tmp_path, run, run.parent):
        monkeypatch.chdir(folder)
        assert set(check_run(os.path.relpath(run)).values()) == {"same"}


def test_missing_and_changed_files_are_named(make_run, capsys):
    run = make_run("a")
    damaged = run / "cams" / "1-of-2.zip"
    content = bytearray(damaged.read_bytes())
    content[40] ^= 1
    damaged.write_bytes(content)
    (run.parents[2] / "resources" / "start.safetensors").unlink()
    wrong = {path: state for path, state in check_run(run).items() if state != "same"}
    assert wrong == {"../../resources/start.safetensors": "missing", "ssc/cams/1-of-2.zip": "changed"}
    assert main(["verify", str(run)]) == 1
    output = capsys.readouterr().out
    assert "ssc/cams/1-of-2.zip: changed" in output and "start.safetensors: missing" in output


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        ("{", "is not valid JSON"),
        ("[]", "holds no JSON object"),
        ('{"config": {}}', "is no manifest"),
        ('{"config": {}, "files": {}}', "is no manifest"),
    ],
)
def test_what_is_no_manifest_is_refused(make_run, tmp_path, capsys, content, sentence):
    run, other = make_run("a"), tmp_path / "other"
    other.mkdir()
    if content is not None:
        (other / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=sentence):
        check_run(other)
    for arguments in ([other], [run, other], [other, run]):
        assert main(["verify", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert sentence in error and str(other / "manifest.json") in error


def test_two_equal_runs(make_run, capsys):
    first, second = make_run("a"), make_run("b")
    comparison = compare_runs(first, second)
    assert comparison.config == {} and comparison.versions == {}
    assert comparison.stages == {stage: [] for stage in STAGES}
    assert main(["verify", str(first), str(second / "manifest.json")]) == 0
    output = capsys.readouterr().out
    assert "The results are the same." in output and "Configuration: the same" in output


def test_the_number_of_shards_makes_no_difference(make_run):
    first, second = make_run("a", shards=1), make_run("b", shards=4)
    comparison = compare_runs(first, second)
    assert differing(comparison) == []
    assert comparison.config == {"shards": (1, 4)}


def test_neither_does_the_experiments_name(make_run):
    assert differing(compare_runs(make_run("a"), make_run("b", experiment="mine-seed3"))) == []


def test_members_that_differ_are_named_however_they_are_cut(make_run, capsys):
    first = make_run("a")
    second = make_run("b", shards=4, labels=lambda name: label_map("x" if name == "c" else name), miou=0.25)
    comparison = compare_runs(first, second)
    differs = "cams/*.zip: 1 of 4 members differ (c.png); 0.000 % of the pixels are equal"
    assert comparison.stages["cams"] == [differs]
    assert comparison.stages["seeds"] == ["seeds.json differs"]
    assert differing(comparison) == ["cams", "seeds"]
    assert main(["verify", str(first), str(second)]) == 1
    output = capsys.readouterr().out
    assert "cams/*.zip: 1 of 4 members differ (c.png)" in output
    assert "shards: 2 | 4" in output
    assert output.endswith("The results differ, from cams on.\n")


def test_a_member_too_few_is_a_difference(make_run):
    first, second = make_run("a"), make_run("b")
    (stage,) = [second / "cams" / "2-of-2.zip"]
    with archive.write(stage) as writer:
        writer.add_labels("b", label_map("b"))

    def update(manifest):
        from ssc.runtime.files import file_digest

        manifest["files"]["cams"]["ssc/cams/2-of-2.zip"] = file_digest(stage)

    edit_manifest(second, update)
    expected = ["cams/*.zip: 1 of 4 members differ (d.png)"]
    assert compare_runs(first, second).stages["cams"] == expected
    assert compare_runs(second, first).stages["cams"] == expected


def test_counts_of_equally_many_shards_are_compared(make_run):
    first, second = make_run("a"), make_run("b")
    edit_manifest(second, lambda manifest: manifest["files"]["seeds"].update({"ssc/seeds/2-of-2.json": "0" * 64}))
    assert compare_runs(first, second).stages["seeds"] == ["seeds/*.json differs"]


def test_tensors_that_differ_are_named_with_the_largest_difference(make_run):
    comparison = compare_runs(make_run("a"), make_run("b", weight=0.75))
    assert comparison.stages["classifier"] == [
        "classifier.safetensors: 1 of 2 tensors differ, by 0.25 at most (classifier.weight)"
    ]


def test_another_header_is_a_difference(make_run):
    (phrase,) = compare_runs(make_run("a"), make_run("b", classes=("dog",))).stages["classifier"]
    assert "the tensors are the same" in phrase


@pytest.mark.parametrize("name", ["cams/1-of-2.zip", "classifier.safetensors"])
def test_what_is_no_longer_there_cannot_be_looked_into(make_run, name):
    first, second = make_run("a"), make_run("b", labels=lambda name: label_map("x"), weight=0.75)
    (second / name).unlink()
    stage = "cams" if name.startswith("cams") else "classifier"
    (phrase,) = compare_runs(first, second).stages[stage]
    assert "cannot be compared" in phrase


def test_the_manifests_alone_tell_that_runs_are_equal(make_run):
    first, second = make_run("a"), make_run("b")
    for path in second.rglob("*.zip"):
        path.unlink()
    assert differing(compare_runs(first, second)) == []


def test_configuration_and_versions_that_differ_are_named(make_run):
    changed = {"irn": {"beta": 8, "scales": [1, 2]}, "cams": {"drs": True, "refine": "none"}}
    first, second = make_run("a"), make_run("b", config={**CONFIG, **changed})
    edit_manifest(second, lambda manifest: manifest["packages"].update(numpy="1.0"))
    comparison = compare_runs(first, second)
    assert comparison.config == {"irn.beta": (10, 8), "cams.refine": (None, "none")}
    assert comparison.versions == {"packages.numpy": (np.__version__, "1.0")}


def test_a_result_of_one_run_alone_is_a_difference(make_run):
    first, second = make_run("a"), make_run("b")
    edit_manifest(second, lambda manifest: manifest["files"]["seeds"].pop("ssc/seeds.json"))
    edit_manifest(first, lambda manifest: manifest["files"].pop("cams"))
    comparison = compare_runs(first, second)
    assert comparison.stages["seeds"] == ["seeds.json is in the first run only"]
    assert comparison.stages["cams"] == ["cams/*.zip is in the second run only"]
