"""The work of stages: formulas by hand, and what follows a training."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ssc.data.index import Index, Row, write_index, write_parts
from ssc.workflow import work
from ssc.workflow.config import complete
from ssc.workflow.network_sizes import NetworkSize
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import STAGES
from ssc.workflow.work import Work, rest_of_run, stage_works

PIXELS = 1000
NETWORKS = {
    stage: NetworkSize(weights=1, saved=1, training_flops=flops, bytes_per_pixel=1.0, flops_per_pixel=flops / 10)
    for stage, flops in (("classifier", 100), ("irn", 1000), ("segmentation", 10_000))
}


def index():
    """Four training photos with 1.5 labels each, and two to predict."""
    rows = [Row(f"{k}", "train", "", "", (1, 2)[: 1 + k % 2]) for k in range(4)]
    return Index(["cat", "dog"], [*rows, *(Row(f"{k}", "val", "", "", ()) for k in range(2))])


def works(**changes):
    settings = Settings(**{"dataset": {"kind": "demo", "name": "x"}, **changes})
    return stage_works(index(), settings, NETWORKS, pixels=PIXELS)


def test_trainings_count_photos_and_epochs():
    found = works(
        classifier={"epochs": 3, "crop": 64}, irn={"epochs": 2}, segmentation={"epochs": 5}, warm_start={"epochs": 6}
    )
    assert found["classifier"] == Work(4 * 3 * 100)
    assert found["irn"] == Work(4 * 2 * 1000)
    assert found["segmentation"] == Work(4 * 5 * 10_000)
    assert found["warm_start"] == Work(4 * 6 * 3 * 64**2 * 10)


def test_a_cross_validation_takes_as_long_as_the_training_where_no_val_photo_has_labels():
    settings, (first, *others) = Settings(dataset={"kind": "folder", "name": "x", "root": "photos"}), index().rows[::-1]
    for labels, times in (((), 1), ((1,), 0)):
        photos = Index(["cat", "dog"], [replace(first, labels=labels), *others])
        found = stage_works(photos, settings, NETWORKS, pixels=PIXELS)
        assert found["cross_validation"].flops == times * found["classifier"].flops


def test_inference_counts_views():
    scales = {"scales": [1.0, 0.5]}
    found = works(cams=scales, pseudo_labels={"scale": 2, "radius": 10}, prediction=scales)
    assert found["cams"] == Work(4 * 2 * 1.25 * PIXELS * 10)
    assert found["pseudo_labels"] == Work(4 * 2 * 4 * PIXELS * 100, pytest.approx(4 * 1e-6 * 16 * PIXELS))
    assert found["predictions"].flops == 2 * 2 * 1.25 * PIXELS * 1000
    plain = works(prediction={**scales, "flip": False, "square": 20, "crf": {"enabled": False}})
    assert plain["predictions"] == Work(2 * 1.25 * 400 * 1000)
    pair = works(prediction=scales, segmentation={"training": "cotraining"})
    assert pair["predictions"].flops == 2 * found["predictions"].flops


def test_crfs_count_labels():
    found = works()
    assert found["irn_labels"] == Work(0, pytest.approx(4 * (0.7e-6 + 0.37e-6 * 2 * 2.5) * PIXELS))
    assert found["predictions"].seconds == pytest.approx(2 * (0.7e-6 + 0.37e-6 * 3) * PIXELS)


def test_labels_without_a_walk_take_a_crf_or_nothing():
    found = works(pseudo_labels={"method": "crf"})
    assert found["pseudo_labels"] == Work(0, pytest.approx(4 * (0.7e-6 + 0.37e-6 * 2.5) * PIXELS))
    assert works(pseudo_labels={"method": "none"})["pseudo_labels"] == Work(0)


@pytest.fixture
def rest(tmp_path, monkeypatch):
    """Function that asks what follows a training of a configuration, where networks are as above."""
    table = tmp_path / "results" / "index.tsv"
    write_index(table, index())
    write_parts(table, index(), 1)
    monkeypatch.setattr(work, "network_sizes", lambda settings, num_classes: NETWORKS)
    monkeypatch.setattr(work, "processors", lambda: 2)

    def ask(stage, *, wildcards=None, **changes):
        own = {"dataset": {"kind": "demo", "name": "x"}, "shards": 16}
        config = complete({**own, "experiments": {"ssc": {}, "more": changes}})
        rule = SimpleNamespace(
            config=config,
            wildcards=SimpleNamespace(**(wildcards or {"experiment": "more"})),
            input=SimpleNamespace(index=str(table.parent / "index" / "train.tsv")),
        )
        return rest_of_run(rule, stage)

    return ask


def test_what_follows_a_training_is_what_the_run_makes_after_it(rest):
    own = stage_works(index(), Settings(dataset={"kind": "demo", "name": "x"}), NETWORKS, pixels=500 * 375)
    jobs = {"classifier": 7 * 16 + 5, "segmentation": 2 * 16 + 1}
    after = {stage: list(STAGES)[list(STAGES).index(stage) + 1 :] for stage in ("classifier", "segmentation")}
    for stage, names in after.items():
        others = [own[name] for name in names if name in own]
        starts = 4 * (jobs[stage] + 7)
        assert rest(stage) == pytest.approx(
            (sum(each.flops for each in others) / own[stage].flops, (sum(each.seconds for each in others) + starts) / 2)
        )
    assert rest("segmentation", prediction={"crf": {"enabled": False}})[1] == 4 * (2 * 16 + 1 + 7) / 2
    ready = rest("classifier", ready={"irn": __file__, "segmentation": __file__})
    assert ready[0] < rest("classifier")[0]


def test_photos_to_predict_may_be_unknown(rest, tmp_path):
    known = rest("segmentation")
    (tmp_path / "results" / "index" / "val.tsv").unlink()
    assert rest("segmentation") == (0, 4 * (2 * 16 + 1 + 7) / 2) and known[0] > 0


def test_a_shared_training_is_of_the_experiment_that_runs(rest):
    assert rest("warm_start", wildcards={"seed": "0"})[0] > rest("warm_start", segmentation={"epochs": 1})[0]
