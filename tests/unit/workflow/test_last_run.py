"""How long a run will take, by the tables that the last one has left."""

import logging
import os

import pandas as pd
import pytest

from ssc.data.index import Index, Row
from ssc.runtime.files import write_json, write_table, write_text
from ssc.workflow import cache, last_run
from ssc.workflow.last_run import expected_seconds
from ssc.workflow.settings import Settings

# By rule, the jobs, photos and seconds of the last run.
COSTS = {
    "masks": (4, 2, 8.0),
    "warm_start": (1, 10, 100.0),
    "train_classifier": (1, 10, 1000.0),
    "cams": (4, 10, 400.0),
    "evaluate_seeds": (1, None, 6.0),
    "predictions": (4, 2, 80.0),
}


def settings(**changes):
    return Settings(**{"dataset": {"kind": "demo", "name": "x"}, "classifier": {"epochs": 10}, **changes})


def index(train=10, val=2):
    rows = [Row(f"{k}", "train", "", "", (1,)) for k in range(train)]
    return Index(["cat"], [*rows, *(Row(f"{k}", "val", "", "m.png", ()) for k in range(val))])


@pytest.fixture
def expected(tmp_path):
    """Function that asks after a run of ten training photos and two others; a row of its table may be changed."""
    run = tmp_path / "ssc"
    rows = [{"rule": name, "jobs": jobs, "photos": photos, "seconds": s} for name, (jobs, photos, s) in COSTS.items()]
    write_table(run / "costs.tsv", pd.DataFrame([{"jobs": 15, "seconds": 1594.0}, *rows]).astype({"photos": "Int64"}))
    manifest = {"cores": os.cpu_count(), "config": settings().decisive()}
    write_json(run / "manifest.json", manifest)

    def ask(*, cores=1, jobs=None, photos=None, **changes):
        return expected_seconds(tmp_path, photos or index(), settings(**changes), cores=cores, jobs=jobs)

    return ask


def test_the_same_again_takes_as_long(expected):
    assert expected() == pytest.approx(1594)
    assert expected(seed=3) == pytest.approx(1594)


def test_jobs_side_by_side_share_the_processors(expected):
    assert expected(cores=2) == pytest.approx(1100 + 6 + 488 / 2)
    assert expected(cores=64) == pytest.approx(1100 + 6 + 488 / 4)


def test_more_photos_and_epochs_take_longer(expected):
    assert expected(photos=index(train=20)) == pytest.approx(2 * 1500 + 8 + 6 + 80)
    assert expected(photos=index(val=3)) == pytest.approx(1500 + 6 + 1.5 * 88)
    assert expected(warm_start={"epochs": 30}) == pytest.approx(1594 + 100)
    assert expected(classifier={"epochs": 15}) == pytest.approx(1594 + 500)


def test_jobs_that_are_not_to_be_done_take_no_time(expected):
    assert expected(jobs={"train_classifier": 1, "cams": 1, "verdict": 1}) == pytest.approx(1000 + 100)
    assert expected(jobs={"page": 1}) == 0
    assert expected(jobs={"train_classifier": 3}) == pytest.approx(3000)  # of several experiments


@pytest.mark.parametrize("changes", [{"classifier": {"epochs": 10, "crop": 256}}, {"precision": "bf16"}])
def test_other_settings_are_not_compared(expected, changes):
    assert expected(**changes) is None


def test_what_has_never_run_is_not_known(expected, tmp_path):
    assert expected(jobs={"train_irn": 1, "cams": 4}) is None
    for damaged in ("{", "{}"):
        (tmp_path / "ssc" / "manifest.json").write_text(damaged)
        assert expected() is None
    (tmp_path / "ssc" / "manifest.json").unlink()
    assert expected() is None


def test_nor_is_another_machine(expected, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    assert expected() is None


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("ssc/logs/train_classifier.log", "Nothing has changed: its result is restored from the cache."),
        ("ssc/logs/cams/2-of-4.log", "2-of-4.zip: 3 of 4 members are there already."),
        ("logs/masks/val/1-of-4.log", "Resumed after step 7."),
    ],
)
def test_the_time_of_a_part_is_not_that_of_the_whole(expected, tmp_path, log, line):
    write_text(tmp_path / log, "10:11:12 4 photos.\n")
    assert expected() == pytest.approx(1594)
    write_text(tmp_path / log, f"10:11:12 {line}\n10:11:13 The end.\n")
    assert expected() is None and expected(jobs={"predictions": 4}) == pytest.approx(80)


def test_logs_say_so_in_these_words(tmp_path, caplog):
    """Those of trainings: tests of `ssc.training`."""
    keys = {"a.png": "0" * 16}
    with caplog.at_level(logging.INFO, "ssc"):
        for content in (b"1", None):
            with cache.resume(tmp_path / "x.zip", fingerprint="f" * 16, keys=keys) as out:
                assert last_run._PART.search(caplog.text) is None or content is None
                if content:
                    out.add_bytes("a.png", content)
    assert last_run._PART.search(caplog.text)
