import importlib.util
import sys
from pathlib import Path

import pytest

from ssc.runtime.errors import InputError
from ssc.workflow import project
from ssc.workflow.project import project_folder, snakemake_command

ROOT = Path(__file__).parents[3]


def given(*arguments: str) -> list[str]:
    """What a call of Snakemake is given, but for the Snakefile."""
    command = snakemake_command(arguments)
    place = command.index("--snakefile")
    assert command[:3] == [sys.executable, "-m", "snakemake"]
    assert command[place + 1] == str(ROOT / "Snakefile")
    return command[3:place] + command[place + 2 :]


def test_the_workflow_of_a_clone_is_the_clone():
    assert project_folder() == ROOT


def test_an_installed_package_carries_the_workflow(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "_PACKAGE", tmp_path)
    (tmp_path / "project").mkdir()
    assert project_folder() == tmp_path / "project"


def test_all_cores_are_taken():
    assert given() == ["--cores", "all"]
    assert given("preview", "-n") == ["preview", "-n", "--cores", "all"]


@pytest.mark.parametrize(
    "own",
    [
        ["--cores", "4"],
        ["--cores=4"],
        ["-c4"],
        ["-j", "2"],
        ["--jobs", "9"],
        ["--profile", "p"],
        ["--executor", "slurm"],
    ],
)
def test_unless_the_user_says_where_jobs_run(own):
    assert given(*own) == own


def test_targets_and_options_of_snakemake_stay_in_their_order():
    own = ["preview", "--cores", "2", "--forcerun", "cams", "--rerun-triggers", "mtime"]
    assert given(*own) == own


def test_configuration_files_are_told_from_values(tmp_path):
    file = tmp_path / "my photos.yaml"
    file.touch()
    found = given("--config", str(file), "seed=3", "--cores", "2", "-C", "dataset={root: 'a b'}")
    assert found == ["--cores", "2", "--configfile", str(file), "--config", "seed=3", "dataset={root: 'a b'}"]


@pytest.mark.parametrize("name", ["folder", "folder.yaml"])
def test_shipped_configurations_are_known_by_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert given("--config", name)[-2:] == ["--configfile", str(ROOT / "config" / "folder.yaml")]
    (tmp_path / name).touch()  # the user's own comes first
    assert given("--config", name)[-2:] == ["--configfile", name]


def test_a_configuration_that_is_not_there_is_told():
    with pytest.raises(InputError, match=r"my.yaml does not exist; .*: coco14, .*folder.*voc12"):
        snakemake_command(["--config", "my.yaml"])


def test_without_snakemake_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(project, "find_spec", lambda name: importlib.util.find_spec(name) and None)
    with pytest.raises(InputError, match=r"pip install 'ssc-wsss\[workflow\]'"):
        snakemake_command([])
