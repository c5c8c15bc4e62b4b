"""Presets: what they set, what stands above them, and that they name keys and values that there are."""

from pathlib import Path

import pytest
import yaml

from ssc.runtime.errors import InputError
from ssc.workflow.config import complete, resolve
from ssc.workflow.presets import PRESETS, merge, preset_settings
from ssc.workflow.settings import KINDS

ROOT = Path(__file__).parents[3]
VOC = {"dataset": {"name": "v", "kind": "voc", "root": "VOCdevkit"}}


def settings(config: dict, experiment: str = "ssc"):
    return resolve(complete(config), experiment)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", KINDS)
def test_presets_are_valid_for_every_kind(name, kind):
    places = {"voc": {"root": "r"}, "coco": {"train_images": "i", "train_instances": "j"}, "folder": {"root": "r"}}
    dataset = {"name": "d", "kind": kind, **places.get(kind, {})}
    run = settings({"preset": name, "dataset": dataset})
    flat = run.model_dump()

    def check(wanted: dict, found: dict) -> None:
        for key, value in wanted.items():
            check(value, found[key]) if isinstance(value, dict) else None
            assert isinstance(value, dict) or found[key] == value

    check(preset_settings(name, kind), flat)


def test_released_and_paper():
    released, paper, plain = (
        settings({**VOC, **({"preset": name} if name else {})}) for name in ("released", "paper", None)
    )
    for run in (released, paper):  # where the paper is silent and its numbers come from the release
        assert (run.classifier.cdr.range, run.classifier.cdr.gamma) == ("tanh", "uniform")
        assert (run.cams.stride, run.pseudo_labels.pad) == (1, 512)
        assert (run.pseudo_labels.mirror, run.pseudo_labels.divide) == ("logit", "after")
        assert (run.segmentation.weights, run.segmentation.training) == ("imagenet_v2", "cotraining")
        assert run.segmentation.windows == "resized" and run.segmentation.colours
    own = released.segmentation
    assert (own.output_stride, own.epochs, own.cotraining.warm_up, own.select_on_val) == (8, 100, 2, True)
    assert (released.prediction.square, released.prediction.fuse, released.prediction.flip) == (512, "max_logit", False)
    assert released.prediction.crf.colours == "wrapped"
    assert (released.precision, released.cams.dtype) == ("fp32", "float32")
    own = paper.segmentation
    assert (own.output_stride, own.epochs, own.cotraining.warm_up, own.select_on_val) == (16, 80, 1, False)
    assert paper.prediction == plain.prediction and paper.precision == "auto"
    assert plain.cams.stride == 4 and plain.pseudo_labels.pad is None and not plain.segmentation.select_on_val


def test_a_key_of_the_configuration_or_of_an_experiment_stands_above_the_preset():
    config = {
        **VOC,
        "preset": "released",
        "prediction": {"flip": True},
        "experiments": {"ssc": {}, "e": {"cams": {"stride": 4}}},
    }
    run, other = settings(config), settings(config, "e")
    assert run.prediction.flip and run.prediction.square == 512
    assert (run.cams.stride, other.cams.stride) == (1, 4) and other.cams.dtype == "float32"


def test_completing_a_completed_configuration_changes_nothing():
    config = complete({**VOC, "preset": "released", "segmentation": {"epochs": 3}})
    assert complete(config) == config


def test_another_word_is_refused():
    with pytest.raises(InputError, match=r"preset: 'realesed' should be 'released', 'paper' or 'laptop'"):
        complete({**VOC, "preset": "realesed"})
    with pytest.raises(InputError, match=r"experiments\.e\.preset is common to all experiments"):
        complete({**VOC, "experiments": {"ssc": {}, "e": {"preset": "paper"}}})


def test_coco_is_not_padded_and_its_masks_are_those_of_the_release():
    coco = {"dataset": {"name": "c", "kind": "coco", "train_images": "i", "train_instances": "j"}}
    for name in ("released", "paper"):
        run = settings({**coco, "preset": name})
        assert run.pseudo_labels.pad is None and run.segmentation.epochs == 40
    released = settings({**coco, "preset": "released"})
    assert not released.segmentation.select_on_val  # 40,504 masks, of which nothing was released
    assert (released.masks.overlaps, released.masks.crowds) == ("last_on_top", "background")
    assert released.pseudo_labels.unlabelled == "half"


@pytest.mark.parametrize("name", ["voc12", "voc12-vgg16", "coco14"])
def test_the_shipped_configurations_say_paper_and_take_the_release_by_one_key(name):
    config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    assert config["preset"] == "paper"
    shared = yaml.safe_load((ROOT / "config" / "experiments.yaml").read_text())
    for preset in ("released", "paper"):
        run = settings(merge(shared, {**config, "preset": preset}), config.get("experiment", "ssc"))
        stride = 8 if run.segmentation.backbone == "vgg16" or preset == "released" else 16
        assert run.segmentation.output_stride == stride
        assert run.segmentation.select_on_val == (preset == "released" and name != "coco14")


def test_a_network_without_second_weights_is_refused():
    with pytest.raises(InputError, match="no second weights of vgg16, only of resnet50 and resnet101"):
        complete({**VOC, "preset": "paper", "segmentation": {"backbone": "vgg16"}})
