import importlib.util
import sys
from pathlib import Path

import pytest
from snakemake.cli import parse_args

from ssc.cli import main
from ssc.runtime.errors import InputError
from ssc.runtime.parallel import processors
from ssc.workflow import project
from ssc.workflow.project import project_folder, snakemake_command

ROOT = Path(__file__).parents[3]
FOLDER = str(ROOT / "config" / "folder.yaml")


@pytest.fixture(autouse=True)
def no_profile(monkeypatch):
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)


def given(*arguments: str):
    """What Snakemake reads of a call."""
    command = snakemake_command(arguments)
    assert command[:4] == [sys.executable, "-P", "-m", "snakemake"]
    _, found = parse_args(command[4:])
    assert [str(path) for path in [found.snakefile]] == [str(ROOT / "Snakefile")]
    return found


def test_the_workflow_of_a_clone_is_the_clone():
    assert project_folder() == ROOT


def test_an_installed_package_carries_the_workflow(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "_PACKAGE", tmp_path)
    (tmp_path / "project").mkdir()
    assert project_folder() == tmp_path / "project"


@pytest.mark.parametrize(
    ("own", "cores"),
    [
        ([], processors()),
        (["-n"], processors()),
        (["--cores", "4"], 4),
        (["--cores=4"], 4),
        (["-c4"], 4),
        (["-pc4"], 4),
        (["--core", "4"], 4),
    ],
)
def test_all_cores_are_taken_unless_the_user_says_otherwise(own, cores):
    found = given("preview", *own)
    assert int(found.cores) == cores and [*found.targets] == ["preview"]


@pytest.mark.parametrize(
    "own", [["-j", "2"], ["-pj4"], ["--jobs", "9"], ["--profile", "p"], ["--executor", "slurm"], ["-e", "slurm"]]
)
def test_where_jobs_run_elsewhere_nothing_is_said_of_cores(own):
    assert "--cores" not in snakemake_command(own)


def test_nor_with_a_profile_of_the_environment(monkeypatch):
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "slurm")
    assert "--cores" not in snakemake_command([])


@pytest.mark.parametrize("own", [["preview", "--forcerun", "cams"], ["--forcerun", "cams", "--", "preview"]])
def test_targets_and_options_of_snakemake_arrive(own):
    found = given(*own, *([] if "--" in own else ["--config", "seed=3", FOLDER]))
    assert ([*found.targets], [*found.forcerun]) == (["preview"], ["cams"])
    assert [*map(str, found.configfile or [])] == ([] if "--" in own else [FOLDER])


def test_configuration_files_are_told_from_values(tmp_path):
    files = [tmp_path / "my photos.yaml", tmp_path / "a=b.yaml"]
    for file in files:
        file.touch()
    found = given(
        "--configfile", str(files[0]), "-n", "--config", str(files[1]), "seed=3", "-C", "dataset={root: 'a b'}"
    )
    assert [*map(str, found.configfile)] == [*map(str, files)]
    assert [*found.config] == ["seed=3", "dataset={root: 'a b'}"] and found.dryrun


@pytest.mark.parametrize("name", ["folder", "folder.yaml"])
def test_shipped_configurations_are_known_by_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert [*map(str, given("--config", name).configfile)] == [FOLDER]
    (tmp_path / name).touch()  # the user's own comes first
    assert [*map(str, given("--config", name).configfile)] == [name]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "my.yaml"], r"my.yaml does not exist; .*\(coco14, .*folder.*voc12"),
        (["--config", "folder", "preview"], r"preview does not exist; .*Targets go before --config"),
        (["--config"], r"Argument --config.*: expected at least one argument; `ssc run --help`"),
        (["-s", "Snakefile"], r"takes this project's Snakefile"),
    ],
)
def test_what_cannot_be_is_told(arguments, told, capsys):
    with pytest.raises(InputError, match=told):
        snakemake_command(arguments)
    assert main(["run", *arguments]) == 1
    assert "Error: " in capsys.readouterr().err


def test_without_snakemake_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(project, "find_spec", lambda name: importlib.util.find_spec(name) and None)
    with pytest.raises(InputError, match=r"pip install 'ssc-wsss\[workflow\]'"):
        snakemake_command([])
