import hashlib
import json
import os
import shlex
import shutil
import subprocess
import zipfile
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from ssc.cli import main
from ssc.interop.crate import Summary, write_crate
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json
from ssc.workflow import manifest, project
from ssc.workflow.config import complete, resolve
from ssc.workflow.manifest import write_manifest
from ssc.workflow.presets import merge

CONFIG = {"device": "cpu", "precision": "fp32", "seed": 3, "dataset": {"name": "tiny"}}
STARTED = datetime.fromisoformat("2026-11-01T10:00:00+00:00").timestamp()
REPORT = ("metrics.tsv", "costs.tsv", "summary.txt", "comparison.tsv", "comparison.md", "verdict.json", "report.html")
PROFILES = ("process-run-crate", "workflow-run-crate", "workflow-ro-crate")
VALIDATOR = shlex.split(os.environ.get("ROCRATE_VALIDATOR", "rocrate-validator validate"))


def written(path, content, seconds):
    """A file that was written so many seconds after the run had started."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (STARTED + seconds,) * 2)
    return str(path)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a finished run whose classifier another experiment has made; its weights and archives are small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest, "_commit", lambda: None)
    data = "results/tiny"
    files = {
        "initial_weights": [
            written(f"{data}/warm_start/tiny-stride8-seed3.safetensors", "start", 5),
            written("resources/weights/vgg 19.safetensors", "loss", -9e6),
        ],
        "data": [written(f"{data}/index.tsv", "photos", 2), written(f"{data}/masks/train/1-of-1.zip", "masks", 3)],
        "classifier": [written(f"{data}/base/classifier.safetensors", "classifier", 20)],
        "seeds": [written(f"{data}/ssc/seeds/1-of-1.json", "{}", 30), written(f"{data}/ssc/seeds.json", "{}", 32)],
        "segmentation": [written(f"{data}/ssc/segmentation.safetensors", "network", 40)],
        "irn": [written("resources/weights/vgg 19.safetensors", "loss", -9e6)],  # which serves twice
    }
    jobs = {
        "benchmarks/index": (2, 2),
        "benchmarks/masks/train/1-of-1": (1, 3),
        "benchmarks/warm_start/tiny-stride8-seed3": (2, 5),
        "benchmarks/warm_start/other-stride8-seed0": (1, -500),  # of another run
        "base/benchmarks/train_classifier": (10, 20),
        "ssc/benchmarks/count_seeds/1-of-1": (3, 30),
        "base/benchmarks/count_seeds/1-of-1": (3, -400),  # likewise
        "ssc/benchmarks/train_segmentation": (7, 40),
    }
    for job, (seconds, end) in jobs.items():
        written(f"{data}/{job}.tsv", f"s\th:m:s\n{seconds}\t0:00:0{seconds}\n", end)
    for name in (*REPORT, "figures/seeds.png", "report_thumbnails/a.jpg"):
        written(f"{data}/ssc/{name}", name, 50)
    path = tmp_path / data / "ssc" / "manifest.json"
    write_manifest(path, config=CONFIG, experiment="ssc", files=files)
    os.utime(path, (STARTED + 51,) * 2)
    return path.parent


def graph_of(crate):
    return json.loads((crate / "ro-crate-metadata.json").read_text())


def by_id(metadata):
    found = {entity["@id"]: entity for entity in metadata["@graph"]}
    assert len(found) == len(metadata["@graph"])
    return found


def references(value):
    """All `@id` that an entity refers to."""
    if isinstance(value, list):
        return [each for item in value for each in references(item)]
    return [value["@id"]] if isinstance(value, dict) else []


def ids(value):
    return {each["@id"] for each in (value if isinstance(value, list) else [value])}


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_metadata_keep_what_the_profiles_demand(run, tmp_path):
    write_crate(run, tmp_path / "crate", who="A. Person", license="https://spdx.org/licenses/CC-BY-4.0")
    metadata = graph_of(tmp_path / "crate")
    assert metadata["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    known = by_id(metadata)
    for entity in known.values():
        assert entity["@type"]
        named = {each for key, value in entity.items() for each in references(value)}
        # What is not described in the crate is an address.
        assert all(each in known or each.startswith("https://") for each in named)
    descriptor, root = known["ro-crate-metadata.json"], known["./"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert "https://w3id.org/ro/crate/1.1" in ids(descriptor["conformsTo"])
    assert root["@type"] == "Dataset" and root["name"] and root["description"]
    assert root["license"]["@id"] in known and datetime.fromisoformat(root["datePublished"])
    profiles = {f"https://w3id.org/ro/wfrun/{name}/0.5" for name in ("process", "workflow")}
    profiles.add("https://w3id.org/workflowhub/workflow-ro-crate/1.0")
    assert ids(root["conformsTo"]) == profiles
    assert {known[each]["@type"] for each in profiles} == {"CreativeWork"}

    workflow, action = known[root["mainEntity"]["@id"]], known[root["mentions"]["@id"]]
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} == set(workflow["@type"])
    assert known[workflow["programmingLanguage"]["@id"]]["@type"] == "ComputerLanguage"
    assert "rules/common.smk" in ids(workflow["hasPart"])
    assert action["@type"] == "CreateAction" and action["instrument"] == {"@id": workflow["@id"]}
    assert known[action["agent"]["@id"]]["name"] == "A. Person"
    assert known["README.md"]["about"] == {"@id": "./"} and known["README.md"]["encodingFormat"] == "text/markdown"
    data = {key for key, entity in known.items() if "File" in entity["@type"]}
    assert data == ids(root["hasPart"])
    assert ids(action["object"]) | ids(action["result"]) <= data

    parameters = {key: entity for key, entity in known.items() if entity["@type"] == "FormalParameter"}
    assert set(parameters) == ids(workflow["input"]) | ids(workflow["output"])
    for key, parameter in parameters.items():
        assert parameter["additionalType"] == "File"
        assert known[parameter["workExample"]["@id"]]["exampleOfWork"] == {"@id": key}


def test_each_file_of_the_crate_has_its_checksum_and_large_ones_are_named(run, tmp_path):
    done = write_crate(run, tmp_path / "crate")
    known = by_id(graph_of(tmp_path / "crate"))
    files = {entity["name"]: entity for entity in known.values() if "File" in entity["@type"]}
    there = set(names_in(tmp_path / "crate"))
    inside = {unquote(entity["@id"]) for entity in files.values() if not entity["@id"].startswith("#")}
    assert there == inside | {"ro-crate-metadata.json"}
    for path in inside:
        content = (tmp_path / "crate" / path).read_bytes()
        entity = next(entity for entity in files.values() if unquote(entity["@id"]) == path)
        assert entity["sha256"] == hashlib.sha256(content).hexdigest() and entity["contentSize"] == str(len(content))
    named = {
        "results/tiny/warm_start/tiny-stride8-seed3.safetensors": b"start",
        "resources/weights/vgg 19.safetensors": b"loss",
        "results/tiny/masks/train/1-of-1.zip": b"masks",
        "results/tiny/base/classifier.safetensors": b"classifier",
        "results/tiny/ssc/segmentation.safetensors": b"network",
    }
    assert {name for name, entity in files.items() if entity["@id"].startswith("#")} == set(named)
    assert all(files[name]["sha256"] == hashlib.sha256(content).hexdigest() for name, content in named.items())
    assert "#resources/weights/vgg%2019.safetensors" in known
    assert done == Summary(len(there), len(named))
    assert json.loads((tmp_path / "crate" / "config.json").read_text()) == {
        "experiment": "ssc",
        "experiments": {"ssc": {}},
        **CONFIG,
    }


def test_the_run_has_its_times_sources_and_results(run, tmp_path):
    write_crate(run, tmp_path / "crate")
    known = by_id(graph_of(tmp_path / "crate"))
    action = known["#run"]
    assert (action["startTime"], action["endTime"]) == ("2026-11-01T10:00:00+00:00", "2026-11-01T10:00:51+00:00")
    sources = {known[each]["name"] for each in ids(action["object"])}
    assert sources == {
        "config.json", "results/tiny/index.tsv", "results/tiny/masks/train/1-of-1.zip",
        "results/tiny/warm_start/tiny-stride8-seed3.safetensors", "resources/weights/vgg 19.safetensors",
    }  # fmt: skip
    results = {known[each]["name"] for each in ids(action["result"])}
    for name in ("manifest.json", "metrics.tsv", "report.html", "seeds.json", "figures/seeds.png"):
        assert f"results/tiny/ssc/{name}" in results
    benchmarks = {name for name in results if "/benchmarks/" in name}
    assert len(benchmarks) == 6 and not any("other" in name or "base/benchmarks/count" in name for name in benchmarks)
    assert "agent" not in action and "author" not in known["./"]  # nobody was named
    assert known["./"]["license"].startswith("No licence of the results is stated")


def test_without_benchmark_files_no_start_is_claimed(run, tmp_path):
    for path in run.parent.rglob("benchmarks"):
        shutil.rmtree(path)
    write_crate(run, tmp_path / "crate")
    assert "startTime" not in by_id(graph_of(tmp_path / "crate"))["#run"]


def test_a_zip_holds_the_same_and_is_replaced_by_its_command_alone(run, tmp_path, capsys):
    out = tmp_path / "crate.zip"
    command = ["crate", str(run), "--out", str(out)]
    assert main(command) == 0 and "named with their SHA-256" in capsys.readouterr().out
    write_crate(run / "manifest.json", tmp_path / "crate")
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        assert archive.read("results/tiny/ssc/metrics.tsv") == b"metrics.tsv"
    assert sorted(names) == names_in(tmp_path / "crate")
    assert main(command) == 0
    out.write_text("mine")
    assert main(command) == 1
    assert "exists and is not what this command wrote" in capsys.readouterr().err and out.read_text() == "mine"
    assert main([*command, "--force"]) == 0 and zipfile.is_zipfile(out)


def test_a_crate_is_laid_out_as_a_clone_with_its_results(run, tmp_path, capsys):
    write_crate(run, tmp_path / "crate")
    assert main(["verify", str(tmp_path / "crate/results/tiny/ssc")]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("3 of 8 files are as the manifest of")
    assert all(line.endswith(": missing") for line in told[:-1])
    for line in told[:-1]:  # whose copies make it whole
        name = (run.parent / line.removesuffix(": missing")).resolve().relative_to(run.parents[2])
        (tmp_path / "crate" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run.parents[2] / name, tmp_path / "crate" / name)
    assert main(["verify", str(tmp_path / "crate/results/tiny/ssc")]) == 0
    assert "ssc verify results/tiny/ssc" in (tmp_path / "crate" / "README.md").read_text()


def test_the_configuration_of_a_manifest_makes_the_run_again():
    folder = project.project_folder()
    experiments, demo = (yaml.safe_load((folder / n).read_text()) for n in ("config/experiments.yaml", "config.yaml"))

    def settings(config):
        return json.loads(json.dumps(resolve(complete(merge(experiments, config)), "ssc").decisive()))

    assert settings(settings(demo)) == settings(demo)


def changed(run):
    (run / "seeds.json").write_text("[]")


def with_other_settings(run):
    value = json.loads((run / "manifest.json").read_text())
    write_json(run / "manifest.json", {**value, "config": {**CONFIG, "seed": 4}})


def missing(run):
    (run.parents[2] / "resources/weights/vgg 19.safetensors").unlink()


def without_manifest(run):
    (run / "manifest.json").unlink()


def without_report(run):
    (run / "report.html").unlink()


def without_figures(run):
    (run / "metrics.tsv").unlink()


def changed_by_hand(run):
    (run / ".verdict.json.sha256").write_text(f"{'0' * 64}  verdict.json\n")


def another_version(run):
    value = json.loads((run / "manifest.json").read_text())
    write_json(run / "manifest.json", {**value, "ssc": "0.0.1"})


def of_another_clone(run):
    value = json.loads((run / "manifest.json").read_text())
    write_json(run / "manifest.json", {**value, "commit": "0" * 40})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (changed, "tells of other files: ssc/seeds.json is changed; run snakemake again"),
        (with_other_settings, "config is not that of config_digest"),
        (missing, "vgg 19.safetensors is missing"),
        (without_manifest, "manifest.json does not exist"),
        (without_report, "report.html does not exist; run snakemake to its end"),
        (without_figures, "metrics.tsv does not exist; run snakemake to its end"),
        (changed_by_hand, "verdict.json is damaged, or was changed by hand"),
        (another_version, "was made by ssc 0.0.1"),
        (of_another_clone, "is no clone that has the commit 0000"),
    ],
)
def test_what_cannot_be_claimed_is_refused(run, tmp_path, change, sentence):
    change(run)
    with pytest.raises(InputError, match=sentence):
        write_crate(run, tmp_path / "crate")
    assert not (tmp_path / "crate").exists()


def test_a_licence_is_an_address(run, tmp_path):
    with pytest.raises(InputError, match="'MIT' is no address"):
        write_crate(run, tmp_path / "crate", license="MIT")


def test_a_folder_with_something_in_it_is_left_alone(run, tmp_path):
    (tmp_path / "crate").mkdir()
    (tmp_path / "crate" / "mine.txt").touch()
    for out in (tmp_path / "crate", tmp_path / "crate" / "mine.txt"):
        with pytest.raises(InputError, match="exists already and is no empty folder"):
            write_crate(run, out, force=True)
    assert [path.name for path in (tmp_path / "crate").iterdir()] == ["mine.txt"]


@pytest.fixture
def clone(tmp_path, monkeypatch, commit_all):
    """A committed workflow; the function runs git in it."""
    root = tmp_path / "clone"
    for path in ("Snakefile", "config.yaml", "config/a.yaml", "envs/a.yaml", "report/a.rst", "rules/a.smk"):
        written(root / path, "as committed", 0)
    written(root / "workflow_scripts/a.py", "as committed", 0)
    monkeypatch.setattr(project, "_PACKAGE", root / "ssc")
    git = commit_all(root)
    git.root = root
    return git


@pytest.mark.parametrize("mark", ["", "-dirty"])
def test_the_workflow_is_that_of_the_runs_commit(run, clone, tmp_path, mark):
    commit = clone("rev-parse", "HEAD") + mark
    written(clone.root / "Snakefile", "of another commit", 0)
    value = json.loads((run / "manifest.json").read_text())
    write_json(run / "manifest.json", {**value, "commit": commit})
    write_crate(run, tmp_path / "crate")
    assert (tmp_path / "crate" / "Snakefile").read_text() == "as committed"
    workflow = by_id(graph_of(tmp_path / "crate"))["Snakefile"]
    assert workflow["version"] == commit
    assert ("not committed" in workflow["description"]) == bool(mark)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_validator_of_the_profiles_agrees(run, tmp_path, profile):
    if not shutil.which(VALIDATOR[0]):
        pytest.skip("rocrate-validator is absent; ROCRATE_VALIDATOR may name its command line")
    write_crate(run, tmp_path / "crate", who="A. Person")
    command = [*VALIDATOR, "-p", profile, "-l", "required", "--no-paging", "-v", str(tmp_path / "crate")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
