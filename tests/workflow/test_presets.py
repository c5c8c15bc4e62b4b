"""The presets on whole runs: what a preset makes again, and the authors' checkpoints on the released road."""

import csv
import json

import pytest
import torch

from ssc.archive import Archive
from ssc.cams import full_cams
from ssc.cli import main
from ssc.models import IRN, CAMClassifier, DeepLabV2
from tests.faults.harness import EPOCHS
from tests.faults.matrix import AFTER_CLASSIFIER
from tests.faults.snakemake import ROOT, Place, jobs
from tests.unit.interop.published import published_classifier, published_irn, published_segmentation


def results(place):
    return place.folder / "results" / "tiny" / "ssc"


def released(campaign, name):
    """A finished run under the preset, whose squares are cut to the size of the photos."""
    place = campaign.finished(name)
    for key, value in (("preset", "released"), ("pseudo_labels.pad", 64), ("prediction.square", 48)):
        place.change(key, value)
    return place


def test_the_released_preset_makes_again_what_it_touches(campaign):
    place = released(campaign, "planned-released")
    # Its precision is a parameter of every training; the masks and superpixels before them stay.
    assert place.planned() == {"warm_start", "train_classifier"} | AFTER_CLASSIFIER


@pytest.fixture(scope="module")
def checkpoints(campaign, tmp_path_factory):
    """Networks with random weights under the published names, imported."""
    folder, classes = tmp_path_factory.mktemp("checkpoints"), campaign.reference.folder / "results/tiny/classes.txt"
    number = len(classes.read_text().split())
    torch.manual_seed(0)
    torch.save(published_classifier(CAMClassifier(number)), folder / "cam.pth")
    torch.save(published_irn(IRN()), folder / "irn.pth")
    pair = {f"network{n}": published_segmentation(DeepLabV2(number + 1)) for n in (1, 2)}
    torch.save({"net_state_dict": pair}, folder / "beco.pth")
    for kind, name in (("classifier", "cam"), ("irn", "irn"), ("segmentation", "beco")):
        own = [] if kind == "irn" else ["--classes", str(classes)]
        assert (
            main(["import-weights", kind, str(folder / f"{name}.pth"), str(folder / f"{kind}.safetensors"), *own]) == 0
        )
    return folder


@pytest.fixture(scope="module")
def trained(campaign, checkpoints):
    """A run under the released preset whose classifier and IRN are the published ones."""
    place = released(campaign, "released")
    for kind in ("classifier", "irn"):
        place.change(f"ready.{kind}", str(checkpoints / f"{kind}.safetensors"))
    planned = place.planned()
    made = {job.rule for job in jobs(place.succeed())}
    assert made == planned
    assert {"cams", "evaluate_seeds", "random_walk", "evaluate_pseudo_labels", "train_segmentation"} <= made
    assert not made & {"train_classifier", "train_irn", "superpixels"}
    return place


def test_what_masks_chose_under_the_released_preset_is_said(trained):
    folder = results(trained)
    assert "selected on val masks" in (folder / "summary.txt").read_text()
    assert "selected on val masks" in (folder / "comparison.md").read_text()
    with (folder / "metrics.tsv").open() as handle:
        chosen = {row["stage"]: row["chosen_by_masks"] for row in csv.DictReader(handle, delimiter="\t")}
    assert chosen["segmentation"] == chosen["step: single scale"] == "epoch"
    assert chosen["seeds"] == "threshold" and chosen["seeds at 0.2"] == chosen["pseudo-labels"] == ""
    log = (folder / "logs" / "train_segmentation.log").read_text()
    assert log.count("on the validation masks") == EPOCHS["segmentation"]
    arrays = Archive(*(folder / "cams").glob("*.zip")).arrays("train_0000")
    assert arrays["scale_0"].dtype == "float32" and full_cams(arrays, (48, 48)).shape[1:] == (48, 48)


def test_published_networks_predict_under_the_released_preset(trained, checkpoints):
    trained.change("ready.segmentation", str(checkpoints / "segmentation.safetensors"))
    made = {job.rule for job in jobs(trained.succeed("segmentation"))}
    assert {"predictions", "evaluate_predictions"} <= made and not made & {"cams", "train_segmentation"}
    # Of weights from elsewhere nothing is known.
    assert json.loads((results(trained) / "segmentation.json").read_text())["chosen_by_masks"] is None
    predictions = Archive(*(results(trained) / "predictions" / "val").glob("*.zip"))
    assert {predictions.labels(name).shape for name in predictions.ids()} == {(48, 48)}


def test_photos_of_ones_own_are_few_jobs_and_a_plan_that_fits_a_screen(tmp_path):
    (tmp_path / "photos" / "images").mkdir(parents=True)
    for number in range(80):
        (tmp_path / "photos" / "images" / f"{number}.jpg").touch()
    place = Place(tmp_path, configfile=ROOT / "config" / "folder.yaml")
    plan = ("--dry-run", "--config", "dataset={'name': 'mine', 'root': 'photos'}")
    assert len(jobs(place.succeed(*plan))) <= 40
    assert len(place.succeed(*plan, "--quiet").splitlines()) <= 40
