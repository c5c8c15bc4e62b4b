"""Bad input of every kind, up to the index: one message each, and nothing is written."""

from pathlib import Path

import pytest
import yaml

from ssc.data.build import build_index
from ssc.data.check import check_images, check_table
from ssc.data.check_masks import check_masks
from ssc.data.corrected import check_corrected
from ssc.data.index import Index, write_index
from ssc.runtime.errors import InputError
from ssc.workflow.config import complete, refuse_repeats, resolve
from ssc.workflow.disk import check_room
from tests.faults.bad_inputs import CASES, SNAKEMAKES, base, data, write_photos
from tests.unit.workflow.test_config import merged


def read_in(folder: Path, *files: str | Path) -> Index:
    """What a run does before its first stage: read the configuration files, and write the index into `folder`."""
    config = {}
    for file in files:
        refuse_repeats(file)
        config = merged(config, yaml.safe_load(Path(file).read_text(encoding="utf-8")))
    config = complete(config)
    index = build_index(config["dataset"])
    check_table(index)
    index = check_images(index, max_pixels=config["dataset"]["max_pixels"])
    check_masks(index)
    run = resolve(config, config["experiment"])
    if run.pseudo_labels.corrected:
        check_corrected(index, run.pseudo_labels.corrected)
    check_room(index, run, folder / "results")
    write_index(folder / "results" / "index.tsv", index, needed=config["prediction"]["split"])
    return index


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
