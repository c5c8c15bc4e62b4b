import hashlib
import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from ssc.workflow import project
from ssc.workflow.manifest import write_manifest

CONFIG = {"device": "cpu", "precision": "auto", "seed": 3, "threads": 1}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory, in which workflow scripts run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(path, config=CONFIG, files=None):
    write_manifest(path, config=config, experiment="ssc", files=files or {})
    return json.loads(path.read_text())


def test_manifest_says_where_a_result_came_from(folder):
    manifest = written(folder / "manifest.json")
    assert manifest["ssc"] == version("ssc-wsss")
    assert manifest["seed"] == 3 and manifest["config"] == CONFIG and manifest["experiment"] == "ssc"
    assert manifest["packages"]["numpy"] == version("numpy")
    assert manifest["packages"]["torch"] == version("torch") and "snakemake" in manifest["packages"]
    assert manifest["python"] == platform.python_version()
    assert manifest["cores"] == os.cpu_count()


def test_digest_of_the_configuration(folder):
    digest = written(folder / "manifest.json")["config_digest"]
    other_order = dict(reversed(CONFIG.items()))
    assert written(folder / "other.json", other_order)["config_digest"] == digest
    assert written(folder / "third.json", {**CONFIG, "threads": 2})["config_digest"] != digest


@pytest.mark.parametrize(
    ("device", "precision", "found"),
    [
        ("cpu", "auto", ("cpu", "fp32")),
        ("cpu", "bf16", ("cpu", "bf16")),
        ("cuda:1", "auto", ("cuda:1", "bf16")),  # where there is no GPU, as on the node that hashes files
        ("cuda", "fp32", ("cuda", "fp32")),
    ],
)
def test_device_and_precision_are_those_that_auto_stands_for(folder, device, precision, found):
    manifest = written(folder / "manifest.json", {**CONFIG, "device": device, "precision": precision})
    assert (manifest["device"], manifest["precision"]) == found


def test_files_are_named_from_the_data_sets_folder_on(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk") / "mine.safetensors"
    run = folder / "results" / "tiny" / "ssc"
    files = {
        "data": ["results/tiny/index.tsv", "results/tiny/masks/train/1-of-1.zip"],
        "initial_weights": ["resources/weights/resnet50.safetensors", str(elsewhere)],
        "seeds": ["results/tiny/base/seeds.json"],
    }
    content = {}
    for number, path in enumerate(path for paths in files.values() for path in paths):
        content[path] = bytes([number])
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content[path])
    manifest = written(run / "manifest.json", files=files)
    assert list(manifest["files"]) == list(files)
    named = {
        "data": ["index.tsv", "masks/train/1-of-1.zip"],
        "initial_weights": ["../../resources/weights/resnet50.safetensors", str(elsewhere)],
        "seeds": ["base/seeds.json"],
    }
    for stage, names in named.items():
        wanted = {
            name: hashlib.sha256(content[path]).hexdigest() for name, path in zip(names, files[stage], strict=True)
        }
        assert manifest["files"][stage] == wanted


@pytest.fixture
def tree(tmp_path, monkeypatch, commit_all):
    """A working tree with a committed module and committed results; the function runs git in it."""
    root = tmp_path / "tree"
    for path in (root / "ssc" / "losses.py", root / "results" / "demo" / "metrics.tsv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as committed")
    monkeypatch.setattr(project, "_PACKAGE", root / "ssc")
    git = commit_all(root)
    git.root = root
    return git


def results_deleted(root):
    shutil.rmtree(root / "results")


def results_changed_and_added(root):
    (root / "results" / "demo" / "metrics.tsv").write_text("of a new run")
    (root / "results" / "voc").mkdir()
    (root / "results" / "voc" / "metrics.tsv").touch()


def code_changed(root):
    (root / "ssc" / "losses.py").write_text("changed")


def code_deleted_with_results(root):
    results_deleted(root)
    (root / "ssc" / "losses.py").unlink()


def note_added(root):
    (root / "notes.txt").touch()


@pytest.mark.parametrize(
    ("change", "dirty"),
    [
        (lambda root: None, False),
        (results_deleted, False),
        (results_changed_and_added, False),
        (note_added, False),
        (code_changed, True),
        (code_deleted_with_results, True),
    ],
)
def test_a_tree_is_dirty_by_changes_outside_of_results(folder, tree, change, dirty):
    change(Path(tree.root))
    commit = written(folder / "manifest.json")["commit"]
    assert commit == tree("rev-parse", "HEAD") + ("-dirty" if dirty else "")


def test_outside_of_git_there_is_no_commit(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(project, "_PACKAGE", tmp_path / "ssc")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert written(folder / "manifest.json")["commit"] is None


def test_the_clone_of_something_else_around_an_installed_package_does_not_count(folder, tree, monkeypatch):
    package = tree.root / ".venv" / "ssc"
    (package / "project").mkdir(parents=True)
    monkeypatch.setattr(project, "_PACKAGE", package)
    assert written(folder / "manifest.json")["commit"] is None
