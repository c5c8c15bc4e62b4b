"""Files that repeat what the code says."""

import shutil
from pathlib import Path

import pytest

from ssc.workflow import generated
from ssc.workflow.generated import main

FILES = ["config/schema.json", "docs/config.md", "README.md", "profiles/slurm/config.yaml"]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the files that a test may edit."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(generated.ROOT / name, tmp_path / name)
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    return tmp_path


def test_the_generated_files_are_up_to_date(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_they_are_all_there(copy):
    assert [path.relative_to(copy).as_posix() for path, _ in generated.texts()] == FILES


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config/schema.json", '"type"', '"kind"'),
        ("docs/config.md", "classifier", "sorter"),
        ("README.md", "cams --> seeds", "seeds --> cams"),
        ("profiles/slurm/config.yaml", ", predictions", ""),
    ],
)
def test_a_stale_file_is_named_and_written_anew(copy, capsys, name, old, new):
    before = {path: Path(copy / path).read_text() for path in FILES}
    stale = before[name].replace(old, new, 1)
    assert stale != before[name]
    (copy / name).write_text(stale)
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == f"{name} is not what the code says; run: python -m ssc.workflow.generated\n"
    assert (copy / name).read_text() == stale
    assert main([]) == 0
    assert {path: Path(copy / path).read_text() for path in FILES} == before


def test_of_a_page_the_part_alone_is_written(copy):
    page = copy / "README.md"
    page.write_text(f"Own words.\n{page.read_text()}")
    assert main(["--check"]) == 0


def test_an_absent_file_is_written(copy):
    for name in FILES[:2]:
        (copy / name).unlink()
    assert main(["--check"]) == 1
    assert main([]) == 0 and main(["--check"]) == 0
