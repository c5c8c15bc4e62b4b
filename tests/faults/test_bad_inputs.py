"""Bad input of every kind, up to the index: one message each, and nothing is written."""

from pathlib import Path

import pytest
import yaml

from ssc.data.index import Index
from ssc.runtime.errors import InputError
from ssc.stages.index import make_index
from ssc.workflow.config import complete, refuse_repeats
from tests.faults.bad_inputs import CASES, SNAKEMAKES, base, data, write_photos
from tests.unit.workflow.test_config import merged


def read_in(folder: Path, *files: str | Path) -> Index:
    """What a run does before its first stage: read the configuration files, and write the index into `folder`."""
    config = {}
    for file in files:
        refuse_repeats(file)
        config = merged(config, yaml.safe_load(Path(file).read_text(encoding="utf-8")))
    config = complete(config) | {"shards": 1}
    results = folder / "results"
    return make_index(config=config, dataset=config["dataset"], output=results / "index.tsv", photos=results / "photos")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("case", [case for case in CASES if case not in SNAKEMAKES], ids=lambda case: case.name)
def test_bad_input_is_refused_in_one_message_and_nothing_is_written(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    _, *files = case.prepare(tmp_path)
    with pytest.raises(InputError) as info:
        read_in(tmp_path, *files)
    assert case.message in str(info.value)
    assert "\n" not in str(info.value).partition(" faults:\n")[0]
    assert not (tmp_path / "results").exists() and not list(tmp_path.rglob("x"))


def test_the_cases_are_many_and_differ():
    assert len({case.name for case in CASES}) == len(CASES) >= 100


def test_what_the_cases_spoil_is_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data()))
    index = read_in(tmp_path, base(tmp_path, data()), "mine.yaml")
    assert [row.id for row in index.rows] == list("abcdef")
    assert all(row.mask and row.digest for row in index.rows)
