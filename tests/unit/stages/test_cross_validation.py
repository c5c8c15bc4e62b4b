"""Cross-validation of the classifier, against two trainings and scorings by hand."""

import json
import logging
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssc.data.index import Index, Row, read_index, write_index, write_parts
from ssc.stages import cross_validation
from ssc.stages.classifier_scores import classifier_scores, evaluate_classifier, truth_of, write_precision
from ssc.stages.cross_validation import cross_validate, halves
from ssc.training.classifier import train_classifier
from ssc.training.run import Run
from tests.unit.training.trainings import CLASSES, Killed, make_data, options, training

OPTIONS = {"seed": 3, "device": "cpu", "threads": 1}


@pytest.fixture
def data(tmp_path):
    """Nine photos, of which three are in the index as `val` too; `val` is a table with these, `none` one without."""
    made = make_data(tmp_path, count=9, noise=90)
    write_parts(tmp_path / "index.tsv", read_index(made.index), 1)
    made.val, made.train = (tmp_path / "index" / f"{split}.tsv" for split in ("val", "train"))
    made.none = tmp_path / "index" / "test.tsv"
    return made


def run(data, output, **changes):
    _, arguments = training("classifier", data, epochs=1)
    cross_validate(**{**arguments, "index": data.train, "val": data.none, "output": output, **OPTIONS, **changes})
    return json.loads(output.read_text())


def test_each_half_is_scored_by_the_classifier_of_the_other(data, tmp_path):
    found = run(data, tmp_path / "out" / "scores.json")
    _, arguments = training("classifier", data, epochs=1)
    rows, scores = [], []
    parts = halves(read_index(data.train).rows)
    for number, (seen, unseen) in enumerate((parts, parts[::-1])):
        write_index(tmp_path / f"half{number}" / "index.tsv", Index(CLASSES, seen))
        weights = tmp_path / f"{number}.safetensors"
        own = {**arguments, "index": tmp_path / f"half{number}" / "index.tsv"}
        train_classifier(Run(**options(weights, seed=3)), **own)
        rows += unseen
        scores += [*classifier_scores(unseen, weights, drs=True, device="cpu", precision="fp32", threads=1)]
    write_precision(tmp_path / "expected.json", rows, np.array(scores), truth_of(rows, 2), CLASSES)
    assert found == json.loads((tmp_path / "expected.json").read_text())
    assert (found["split"], found["images"]) == ("train", 9) and found["guessing"]
    # The classifiers have learned different things: it matters which one scores.
    evaluate_classifier(indices=[data.train], weights=weights, output=tmp_path / "one.json", drs=True, device="cpu")
    assert found["ap"] != json.loads((tmp_path / "one.json").read_text())["ap"]


def test_photos_that_are_set_aside_are_not_trained_for(data, tmp_path, monkeypatch):
    monkeypatch.setattr(cross_validation, "train_classifier", None)
    assert run(data, tmp_path / "scores.json", val=data.val)["guessing"] is None
    # One photo of each class: of neither is there one to learn from and one to test with.
    write_index(tmp_path / "two photos" / "index.tsv", Index(CLASSES, read_index(data.train).rows[:2]))
    assert run(data, tmp_path / "scores.json", index=tmp_path / "two photos" / "index.tsv")["images"] == 0


def test_a_class_of_one_half_alone_is_left_out(data, tmp_path):
    rows = [replace(row, labels=(1,)) for row in read_index(data.train).rows]
    rows[4] = replace(rows[4], labels=(1, 2))
    write_index(tmp_path / "rare" / "index.tsv", Index(CLASSES, rows))
    found = run(data, tmp_path / "scores.json", index=tmp_path / "rare" / "index.tsv")
    assert list(found["ap"]) == ["red"] and found["images"] == 9


def test_what_was_trained_is_not_trained_again(data, tmp_path, monkeypatch, caplog):
    def second_fails(run, **arguments):
        if run.output.stem.endswith("2"):
            raise Killed
        train_classifier(run, **arguments)

    output = tmp_path / "scores.json"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(cross_validation, "train_classifier", second_fails)
        run(data, output)
    killed = tmp_path / ".scores_2.safetensors.checkpoint.123.tmp"  # while it wrote
    killed.touch()
    with caplog.at_level(logging.INFO):
        run(data, output)
    assert caplog.text.count("restored from the cache") == 1
    assert not killed.exists() and not [path.name for path in tmp_path.glob("scores_*")]  # weights that nobody uses


def test_where_it_is_no_longer_needed_nothing_of_a_killed_job_stays(data, tmp_path):
    names = ("scores_1.safetensors", "scores_1_losses.tsv", "scores_2.safetensors", "scores_2_losses.tsv")
    left = [tmp_path / f"{name}{end}" for name in names for end in ("", ".checkpoint")]
    for path in left:
        path.touch()
    run(data, tmp_path / "scores.json", val=data.val)
    assert not any(path.exists() for path in left)


@given(st.lists(st.tuples(st.sampled_from([(), (1,), (2,), (1, 2)]), st.integers(0, 99)), unique=True))
def test_halves_have_the_same_labels_and_neighbours_by_name(found):
    rows = [Row(f"{number:02}{labels}", "train", "", "", labels) for labels, number in found]
    first, second = halves(rows)
    assert sorted(first + second, key=rows.index) == rows
    counts = [Counter(row.labels for row in half) for half in (first, second)]
    assert all(abs(counts[0][labels] - counts[1][labels]) <= 1 for labels in counts[0] | counts[1])
    assert all(a.id < b.id for a in first for b in second if a.labels == b.labels)


@given(st.lists(st.sets(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=30))
def test_halves_show_each_class_about_equally_often(labels):
    rows = [Row(f"{number:02}", "train", "", "", tuple(sorted(own))) for number, own in enumerate(labels)]
    first, second = (Counter(label for row in half for label in row.labels) for half in halves(rows))
    rarest = min(first | second, key=lambda label: (first[label] + second[label], label))
    assert abs(first[rarest] - second[rarest]) <= 1


def test_photos_of_several_classes_are_dealt_out_by_class():
    rows = [Row(str(labels), "train", "", "", labels) for labels in [(1, 3), (1, 4), (2, 3), (2, 4)]]
    assert all({label for row in half for label in row.labels} == {1, 2, 3, 4} for half in halves(rows))
