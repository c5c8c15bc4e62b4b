"""The configuration: defaults, refusals in one sentence, experiments, the files that are generated."""

import copy
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from ssc.models.networks import NETWORKS
from ssc.runtime.errors import InputError
from ssc.workflow.config import MOVED, complete, refuse_repeats, resolve, split_seed
from ssc.workflow.settings import KINDS, Common, Settings

ROOT = Path(__file__).parents[3]
SHIPPED = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]
MINIMAL = {"dataset": {"name": "mine", "kind": "folder", "root": "photos"}}


def merged(base, changes):
    """`changes` laid over `base`, key by key."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


def config(**changes):
    return complete({**MINIMAL, **changes})


def nested(path, value):
    """("a", "b"), 1 to {"a": {"b": 1}}."""
    for key in reversed(path):
        value = {key: value}
    return value


def lookup(values, path):
    for key in path:
        values = values[key]
    return values


def leaves(values, path=()):
    """Place of every key that is no section."""
    for key, value in values.items():
        if isinstance(value, dict) and value and (*path, key) != ("experiments",):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


# Defaults and the shipped files


def test_defaults_are_complete_and_completing_them_changes_nothing():
    completed = config()
    assert set(completed) == set(Settings.model_fields)
    assert len(list(leaves(completed))) > 100
    assert completed["dataset"]["name"] == "mine"
    assert json.dumps(complete(completed)) == json.dumps(completed)


def test_completing_changes_its_input_neither_at_once_nor_later():
    own = {"ssc": {"classifier": {"resize_long": [64, 96]}}}
    given = merged(MINIMAL, {"classifier": {"epochs": 3}, "seeds": {"thresholds": [0.1, 0.2]}, "experiments": own})
    before = copy.deepcopy(given)
    completed = complete(given)
    completed["seeds"]["thresholds"].append(2)
    completed["experiments"]["ssc"]["classifier"]["resize_long"].clear()
    completed["classifier"]["resize_long"].clear()
    assert given == before
    assert config()["classifier"]["resize_long"] == [320, 640]


def test_sections_that_share_a_yaml_alias_get_their_own_defaults():
    completed = complete(yaml.safe_load("""
        dataset: {name: mine, kind: folder, root: photos}
        classifier: &shared {backbone: tiny, weights: none}
        irn: *shared
        """))  # fmt: skip
    assert completed["irn"]["radius"] == 10 and "radius" not in completed["classifier"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_are_valid(path):
    """A file that names no kind of data set is laid over config.yaml, any over the ablations, as the Snakefile does."""
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "kind" not in given.get("dataset", {}):
        given = merged(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")), given)
    given = merged(yaml.safe_load((ROOT / "config" / "experiments.yaml").read_text(encoding="utf-8")), given)
    completed = complete(given)
    for name in completed["experiments"]:
        assert resolve(completed, f"{name}-seed7").seed == 7


def test_the_paper_is_the_default():
    completed = config()
    assert completed["experiments"] == {completed["experiment"]: {}}
    classifier = completed["classifier"]
    assert (classifier["backbone"], classifier["drs"]["delta"], classifier["asm"]["erosion"]) == ("resnet50", 0.55, 8)
    assert (classifier["cdr"]["alpha"], classifier["asm"]["beta"], classifier["asm"]["threshold"]) == (1, 1, 0.3)


# Refusals


def refusal(**changes):
    with pytest.raises(InputError) as info:
        config(**changes)
    sentence = str(info.value)
    assert "\n" not in sentence
    return sentence


LEAVES = list(leaves(complete(MINIMAL)))


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_misspelt_key_is_told_the_right_one(path):
    siblings = lookup(config(), path[:-1])
    wrong = next(word for word in (f"{path[-1]}s", f"{path[-1]}_") if word not in siblings)
    sentence = refusal(**merged(MINIMAL, nested((*path[:-1], wrong), 1)))
    assert sentence == f"unknown key {'.'.join([*path[:-1], wrong])!r}; did you mean {path[-1]!r}?"


def test_a_key_like_no_other_is_told_all():
    assert refusal(superpixels={"q": 1}) == (
        "unknown key 'superpixels.q'; known keys: max_regions, scale, sigma, min_size."
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classifier": {"epochs": "ten"}}, "classifier.epochs: 'ten' should be a whole number."),
        ({"classifier": {"epochs": True}}, "classifier.epochs: True should not hold a truth value."),
        ({"classifier": {"epochs": 0}}, "classifier.epochs: 0 should be greater than or equal to 1."),
        ({"classifier": {"lr": [0.1]}}, "classifier.lr: [0.1] should be a number."),
        ({"classifier": {"backbone": "vgg"}}, "classifier.backbone: there is no network 'vgg'; the nearest are vgg"),
        ({"classifier": {"cdr": {"loss": "l3"}}}, "classifier.cdr.loss: 'l3' should be 'perceptual', 'l1' or 'l2'."),
        ({"classifier": {"resize_long": [320, "x"]}}, "classifier.resize_long.1: 'x' should be a whole number."),
        ({"classifier": {"resize_long": [640, 320]}}, "classifier.resize_long: 640 is above 320; write the smaller"),
        ({"irn": {"scale": [2, 1.5]}}, "irn.scale: 2.0 is above 1.5; write the smaller one first."),
        ({"classifier": {"freeze_norm": 1}}, "classifier.freeze_norm: 1 should be true or false."),
        ({"classifier": [1]}, "classifier: [1] should be a section with keys of its own."),
        ({"classifier": None}, "classifier is empty; give it a value, or drop the line."),
        ({"irn": {"crop": 510}}, "irn.crop: 510 should be a multiple of 4."),
        ({"irn": {"crop": 72}}, "irn.crop: 72 is too small for radius 10; take 76 or more."),
        ({"cams": {"scales": []}}, "cams.scales: [] should have at least 1 item"),
        ({"experiments": {"ssc": None}}, "experiments.ssc is empty; give it a value, or drop the line."),
        ({"experiments": {"ssc": {"irn": 3}}}, "experiments.ssc.irn: 3 should be a section with keys of its own."),
        ({"experiments": {"a b": {}}}, "experiments.a b: 'a b' should match pattern"),
        ({"experiment": "../up"}, "experiment: '../up' should match pattern"),
        ({"dataset": {"kind": "folder", "root": "x"}}, "dataset.name is missing; add it."),
        ({"dataset": {"kind": "folder", "name": "x"}}, "dataset.root is missing; add it."),
        ({"dataset": {**MINIMAL["dataset"], "root": None}}, "dataset.root is empty; give it a value, or drop"),
        ({"dataset": {**MINIMAL["dataset"], "name": 7}}, "dataset.name: 7 should be text; quote it."),
        ({"dataset": None}, "dataset: None should be a section with keys of its own."),
        ({"log": "wandb"}, "log: 'wandb' should be 'table' or 'tensorboard'."),
        ({"seeds": {"thresholds": [0.2, 0.1]}}, "seeds.thresholds: the values must ascend; sort them"),
        ({"seeds": {"thresholds": [0.2, 0.2]}}, "seeds.thresholds: the values must ascend; sort them"),
        ({"seeds": {"threshold": 0.22}}, "seeds.threshold: 0.22 is not among thresholds; add it there."),
        ({"classifier": {"crop": 500}}, "classifier.crop: 500 is no multiple of the output stride 16; take 496."),
        ({"classifier": {"crop": 32, "output_stride": 32}}, "classifier.crop: 32 leaves one cell at output stride 32"),
        ({"ablation": {"seeds": [1, 1]}}, "ablation.seeds: an entry stands there twice; drop one of the two."),
        ({"ablation": {"experiments": ["ssc", "ssc"]}}, "ablation.experiments: an entry stands there twice"),
        ({"ablation": {"sweeps": {"s": {"key": "irn.lr", "values": [1, 1.0]}}}}, "ablation.sweeps.s.values: an entry"),
    ],
)
def test_wrong_values_are_named_by_their_path(changes, sentence):
    assert refusal(**changes).startswith(sentence)


def test_a_data_set_is_needed():
    with pytest.raises(InputError, match=r"^dataset is missing; add it\.$"):
        complete({})


@pytest.mark.parametrize("section", ["classifier", "irn", "segmentation"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_output_strides_are_those_of_the_backbone(section, name):
    for stride in (4, 8, 16, 32):
        changes = {section: {"backbone": name, "output_stride": stride, "weights": "none"}}
        if stride in NETWORKS[name].output_strides:
            assert config(**changes)[section]["output_stride"] == stride
        else:
            assert refusal(**changes).startswith(f"{section}.output_stride: {name} has ")


TINY = {"backbone": "tiny", "weights": "warm_start"}


@pytest.mark.parametrize("word", ["warm_start", "none"])
def test_one_key_says_what_all_networks_start_from(word):
    completed = config(weights=word, irn={"weights": "irn.safetensors"})
    assert [completed[name]["weights"] for name in ("classifier", "irn", "segmentation")] == [
        word,
        "irn.safetensors",  # what is said of one network stands above it
        word,
    ]
    assert completed["classifier"]["cdr"]["weights"] == word


def test_a_warm_start_of_all_networks_has_a_loss_network_that_can_be_trained():
    own = config(weights="warm_start", classifier={"backbone": "resnet18"})["classifier"]
    assert own["cdr"]["network"] == "resnet18" and own["cdr"]["weights"] == "warm_start"
    assert config(weights="warm_start")["classifier"]["cdr"]["network"] == "resnet50"


def test_a_preset_stands_below_what_all_networks_start_from():
    assert config(preset="released", weights="none")["segmentation"]["weights"] == "none"


def test_a_loss_network_that_is_named_stays_under_a_warm_start():
    own = config(preset="laptop", weights="warm_start")["classifier"]
    assert own["cdr"]["network"] == own["backbone"] == "tf_efficientnet_lite0"
    named = config(weights="warm_start", classifier={"cdr": {"network": "tiny"}})["classifier"]["cdr"]
    assert named["network"] == "tiny"
    assert refusal(weights="warm_start", classifier={"cdr": {"network": "vgg19"}}).startswith(
        "classifier.cdr.weights: a warm"
    )


def test_what_all_networks_start_from_is_no_experiments_own():
    sentence = refusal(experiments={"ssc": {}, "cold": {"weights": "none"}})
    assert sentence.startswith("experiments.cold.weights is common to all experiments")


@pytest.mark.parametrize("stride", [0, -16, 12])
def test_output_strides_of_timms_networks_are_checked_too(stride):
    sentence = refusal(classifier={"backbone": "convnext_tiny", "output_stride": stride})
    assert sentence == f"classifier.output_stride: {stride} is none of 4, 8, 16, 32."


@pytest.mark.parametrize("section", ["classifier", "irn", "segmentation"])
def test_there_are_no_imagenet_weights_for_tiny(section):
    sentence = refusal(**{section: {"backbone": "tiny", "weights": "imagenet"}})
    assert sentence == f"{section}.weights: there are no ImageNet weights for tiny; use warm_start or none."


def test_weights_of_the_loss_network():
    assert refusal(classifier={"cdr": {"network": "tiny"}}).startswith(
        "classifier.cdr.weights: there are no ImageNet weights for tiny"
    )
    assert refusal(classifier={"cdr": {"weights": "warm_start"}}).startswith(
        "classifier.cdr.weights: a warm start trains a backbone, and vgg19 is none; name a backbone"
    )
    warm = {"network": "tiny", "weights": "warm_start"}
    assert config(classifier={**TINY, "cdr": warm})["classifier"]["cdr"]["network"] == "tiny"
    for unused in ({"enabled": False}, {"loss": "l1"}):
        config(classifier={"cdr": {"weights": "warm_start", **unused}})


# Kinds of data sets

REQUIRED = {
    kind: {key: "x" for key, field in section.model_fields.items() if field.is_required()} | {"kind": kind}
    for kind, section in KINDS.items()
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_has_the_keys_of_its_kind_and_no_others(kind):
    completed = config(dataset=REQUIRED[kind])
    assert set(completed["dataset"]) == set(KINDS[kind].model_fields)
    for key in {key for section in KINDS.values() for key in section.model_fields} - set(completed["dataset"]):
        owners = [name for name, section in KINDS.items() if key in section.model_fields]
        assert refusal(dataset={**REQUIRED[kind], key: "x"}) == (
            f"dataset.{key} is a key of kind {' and '.join(owners)}, not of {kind}; set dataset.kind (one of demo, "
            "voc, coco, folder; demo where none is named), or drop the key."
        )


def test_a_data_set_of_no_kind_is_told_the_kinds():
    assert refusal(dataset={"name": "x"}) == "dataset.kind is missing; name one of demo, voc, coco, folder."
    assert refusal(dataset={"name": "x", "root": "photos"}).startswith(
        "dataset.root is a key of kind voc and folder, not of demo; set dataset.kind (one of demo, voc, coco, folder;"
    )
    for kind in ("vox", None, ["voc"], {}):
        assert refusal(dataset={"name": "x", "kind": kind}) == (
            f"dataset.kind: {kind!r} is no kind of data set; take one of demo, voc, coco, folder."
        )


def test_a_configuration_of_photos_that_is_laid_over_the_demo_is_refused():
    demo = yaml.safe_load((ROOT / "config.yaml").read_text())
    sentence = refusal(dataset=merged(demo["dataset"], {"name": "mine", "root": "photos"}))
    assert sentence.startswith(
        "dataset.root is a key of kind voc and folder, not of demo; set dataset.kind (one of demo"
    )
    assert "dataset.nmae" in refusal(dataset=merged(demo["dataset"], {"nmae": "mine"}))


def test_a_wrong_value_of_a_data_set_is_told_of_its_own_kind_alone():
    for kind in KINDS:
        assert refusal(dataset={**REQUIRED[kind], "max_pixels": 5}) == (
            "dataset.max_pixels: 5 should be greater than or equal to 1024."
        )


def test_only_published_data_sets_are_downloaded():
    assert refusal(dataset={**MINIMAL["dataset"], "root": "download"}) == (
        "dataset.root: there is no download of kind folder; name your folder or file."
    )
    for kind, key in (("voc", "root"), ("voc", "sbd"), ("coco", "train_images"), ("coco", "val_instances")):
        config(dataset={**REQUIRED[kind], key: "download"})


def test_test_photos_are_not_downloaded():
    voc = {"name": "mine", "kind": "voc", "root": "download"}
    own = {"prediction": {"split": "test"}}
    assert refusal(dataset=voc, **own).startswith("prediction.split: VOC's test photos are given out after a login")
    sentence = refusal(dataset=voc, experiments={"ssc": {}, "server": own})
    assert sentence.startswith("experiments.server.prediction.split: ")
    config(dataset={**voc, "test_root": "held_out"}, **own)
    config(dataset={**voc, "root": "data/voc"}, **own)


# Experiments


def test_an_experiment_overrides_deep_keys_and_nothing_else():
    own = {"classifier": {"asm": {"enabled": False}, "resize_long": [256, 512]}, "seed": 3}
    completed = config(experiments={"ssc": {}, "no_asm": own}, classifier={"epochs": 4}, experiment="no_asm")
    plain, other = resolve(completed, "ssc"), resolve(completed, "no_asm")
    assert other.model_dump() == merged(plain.model_dump(), own)
    assert other.classifier.asm.threshold == 0.3 and other.classifier.epochs == 4
    assert other.classifier.resize_long == [256, 512]
    assert plain.model_dump(mode="json") == completed


def test_a_seed_in_the_name_wins():
    completed = config(experiments={"ssc": {}, "five": {"seed": 5}}, experiment="ssc-seed2", seed=1)
    seeds = {name: resolve(completed, name).seed for name in ("ssc", "ssc-seed2", "five", "five-seed0")}
    assert seeds == {"ssc": 1, "ssc-seed2": 2, "five": 5, "five-seed0": 0}
    assert resolve(completed, "ssc-seed9").model_dump(mode="json") == {**completed, "seed": 9}


@pytest.mark.parametrize(
    ("name", "parts"),
    [("ssc", ("ssc", None)), ("ssc-seed2", ("ssc", 2)), ("a-seed10", ("a", 10)), ("-seed1", ("-seed1", None)),
     ("ssc-seed", ("ssc-seed", None)), ("ssc-seedx", ("ssc-seedx", None)), ("a-seed1-seed2", ("a-seed1", 2))],
)  # fmt: skip
def test_splitting_the_seed_off(name, parts):
    assert split_seed(name) == parts


@pytest.mark.parametrize("key", [*Common.model_fields, "ready.superpixels"])
def test_common_keys_do_not_differ_between_experiments(key):
    sentence = refusal(experiments={"ssc": {}, "other": nested(key.split("."), "x")})
    assert sentence == f"experiments.other.{key} is common to all experiments; set it outside of them."


def test_what_is_ready_may_differ_between_experiments():
    ready = {"cams": "theirs", "segmentation": "net.safetensors"}
    completed = config(ready={"superpixels": "ours", "irn": "irn.safetensors"}, experiments={"ssc": {"ready": ready}})
    assert resolve(completed, "ssc").ready.model_dump(exclude_none=True) == {
        "superpixels": "ours",
        "irn": "irn.safetensors",
        **ready,
    }


@pytest.mark.parametrize(
    "name", ["ablation", "data", "index", "masks", "photos", "superpixels", "tensorboard", "warm_start"]
)
def test_experiments_are_not_named_as_folders_of_results(name):
    sentence = refusal(experiments={"ssc": {}, name: {}})
    assert sentence == f"experiments.{name}: results/<data set>/{name} holds shared files; choose another name."


# Keys that moved


@pytest.mark.parametrize(("old", "new"), MOVED.items())
@pytest.mark.parametrize("value", ["x", None, 0.3])
def test_a_key_that_moved_is_told_its_new_name(old, new, value):
    own = nested(old.split("."), value)
    assert refusal(**own) == f"{old} is now {new}; rename the key."
    sentence = refusal(experiments={"ssc": {}, "mine": own})
    assert sentence == f"experiments.mine.{old} is now {new}; rename the key."


def test_the_new_names_are_keys_and_the_old_ones_are_not():
    completed = config()
    for old, new in MOVED.items():
        lookup(completed, new.split("."))
        with pytest.raises(KeyError):
            lookup(completed, old.split("."))


def test_a_sweep_over_a_key_that_moved_is_told_too():
    sweep = {"key": "irn_labels.foreground", "values": [0.3]}
    assert refusal(ablation={"sweeps": {"s": sweep}}) == (
        "experiments.s_0.3.irn_labels.foreground is now irn_labels.foreground_threshold; rename the key."
    )


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"clasifier": {}}, "unknown key 'experiments.odd.clasifier'; did you mean 'classifier'?"),
        (
            {"classifier": {"asm": {"erosin": 3}}},
            "unknown key 'experiments.odd.classifier.asm.erosin'; did you mean 'erosion'?",
        ),
        ({"irn": {"radius": 1}}, "experiments.odd.irn.radius: 1 should be greater than or equal to 2."),
        ({"irn": {"output_stride": 4}}, "experiments.odd.irn.output_stride: resnet50 has 8, 16, 32, not 4."),
        (
            {"seeds": {"thresholds": [1, 0]}},
            "experiments.odd.seeds.thresholds: the values must ascend; sort them and drop repeats.",
        ),
    ],
)
def test_experiments_are_checked_as_well(own, sentence):
    assert refusal(experiments={"ssc": {}, "odd": own}) == sentence


def test_unknown_experiments():
    assert refusal(experiment="mine").startswith("experiment: 'mine' is not among experiments (ssc)")
    assert refusal(experiment="mine-seed1").startswith("experiment: 'mine-seed1' is not among experiments (ssc)")
    with pytest.raises(InputError, match="'other' is not declared under experiments; known: ssc"):
        resolve(config(), "other-seed1")


# Text where another type is wanted: `--config` and YAML's 1e-4


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        (("classifier", "lr"), "1e-4", 1e-4),
        (("classifier", "epochs"), "3", 3),
        (("classifier", "output_stride"), "8", 8),
        (("classifier", "drs", "enabled"), "False", False),
        (("superpixels", "min_size"), "null", None),
        (("superpixels", "min_size"), "7", 7),
        (("cams", "scales"), ["0.5", "1"], [0.5, 1]),
        (("dataset", "masks"), "None", None),
        (("dataset", "masks"), "12", "12"),
    ],
)
def test_text_is_read_as_the_type_of_the_key(path, text, value):
    found = lookup(complete(merged(MINIMAL, nested(path, text))), path)
    assert found == value
    assert type(found) is type(value)


def test_text_in_an_experiment_is_read_too():
    completed = config(experiments={"ssc": {"classifier": {"epochs": "7"}}})
    assert resolve(completed, "ssc").classifier.epochs == 7


@pytest.mark.parametrize(
    ("path", "value"),
    [(("classifier", "epochs"), 2), (("classifier", "output_stride"), 8), (("classifier", "resize_long"), [64, 96])],
)
def test_a_whole_number_with_a_point_is_a_whole_number(path, value):
    point = [float(item) for item in value] if isinstance(value, list) else float(value)
    found = lookup(config(**nested(path, point)), path)
    assert found == value
    assert {type(item) for item in (found if isinstance(found, list) else [found])} == {int}


def test_numbers_that_may_be_broken_stay_so():
    assert type(config(classifier={"lr": 1.0})["classifier"]["lr"]) is float
    assert refusal(classifier={"epochs": 1.5}).startswith("classifier.epochs: 1.5 should be a whole number")


# What YAML can say and no setting means


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "nan", "inf", ".5e999"])
def test_numbers_are_finite(value):
    assert "classifier.lr: " in refusal(classifier={"lr": value})
    assert "cams.scales.1: " in refusal(cams={"scales": [1.0, value]})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({2012: 1}, "The key 2012 is no text; quote it."),
        ({"experiments": {False: {}}}, "The key False under experiments is no text; quote it."),
        ({"experiments": {"x": {None: 1}}}, "The key None under experiments.x is no text; quote it."),
        (
            {"dataset": {**MINIMAL["dataset"], "root": ""}},
            "dataset.root is empty; give it a value, or drop the line.",
        ),
        (
            {"dataset": {**MINIMAL["dataset"], "name": "mine\n"}},
            "dataset.name: 'mine\\n' holds a line break or another control character; drop it.",
        ),
        (
            {"dataset": {**MINIMAL["dataset"], "root": "a\0b"}},
            "dataset.root: 'a\\x00b' holds a line break or another control character; drop it.",
        ),
        (
            {"dataset": {**MINIMAL["dataset"], "name": date(2012, 1, 1)}},
            "dataset.name: datetime.date(2012, 1, 1) is neither text nor a number; quote it.",
        ),
        (
            {"experiments": {"ssc": {"irn": {"weights": "{x}.safetensors"}}}},
            "experiments.ssc.irn.weights: '{x}.safetensors' holds a curly bracket, which no name may; "
            "rename the file.",
        ),
    ],
)  # fmt: skip
def test_what_no_setting_means_is_refused(changes, sentence):
    with pytest.raises(InputError) as info:
        complete({**MINIMAL, **changes})
    assert str(info.value) == sentence


@pytest.mark.parametrize(
    "name", ["a; touch x", "$(touch x)", "`touch x`", "a b", "-rf", "..", "../up", "/etc", "a/b", ""]
)
def test_names_of_folders_are_plain(name):
    assert "dataset.name" in refusal(dataset={**MINIMAL["dataset"], "name": name})
    assert "experiment" in refusal(experiment=name)
    assert "experiments" in refusal(experiments={name: {}})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shards: 2\nworkers: 1\nshards: 3\n", "line 3: the key 'shards'"),
        ("irn:\n  lr: 1\n  radius: 4\n  lr: 2\n", "line 4: the key 'lr'"),
        ("experiments: {a: {}, b: {irn: {lr: 1, lr: 1}}}", "line 1: the key 'lr'"),
        ("x:\n- {a: 1}\n- {a: 1, a: 2}\n", "line 3: the key 'a'"),
        ('{"shards": 2,\n "shards": 3}', "line 2: the key 'shards'"),
    ],
)
def test_a_repeated_key_is_refused(tmp_path, text, found):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError) as info:
        refuse_repeats(tmp_path / "mine.yaml")
    assert str(info.value) == f"{tmp_path}/mine.yaml, {found} stands there twice; keep one of the two."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "irn: {lr: 1}\nclassifier: {lr: 1}\n",
        "irn: &own {lr: 1}\nclassifier: *own\n",
        "irn: &own {lr: 1}\nclassifier:\n  <<: *own\n  lr: 2\n",
        "a: &a [*a]\n",
        '{\n\t"shards": 2\n}',
        "[1, 2]: 3\n[1, 2]: 4\n",
    ],
)
def test_keys_of_different_sections_are_no_repeats(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    refuse_repeats(tmp_path / "mine.yaml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_repeat_no_key(path):
    refuse_repeats(path)


@pytest.mark.parametrize("text", ["many", "1.5", "true", ""])
def test_text_that_is_no_whole_number_is_refused(text):
    with pytest.raises(InputError, match=r"classifier\.epochs"):
        config(classifier={"epochs": text})


def test_a_configuration_is_checked_without_torch():
    heavy = "{'torch', 'numpy', 'pandas', 'jsonschema'}"
    code = f"import sys, ssc.workflow.config; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
