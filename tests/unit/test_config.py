"""The configuration: defaults, refusals in one sentence, experiments."""

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml

from ssc.models.networks import OUTPUT_STRIDES
from ssc.runtime.errors import InputError
from ssc.workflow.config import complete, load_schema, refuse_repeats, resolve, split_seed, warm_start_settings

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "config" / "schema.yaml")
SHIPPED = [
    ROOT / "config.yaml",
    *sorted(path for path in (ROOT / "config").glob("*.yaml") if path.name != "schema.yaml"),
]
MINIMAL = {"dataset": {"name": "mine", "kind": "folder"}}
SHARED = [
    "dataset",
    "device",
    "experiment",
    "experiments",
    "precision",
    "shards",
    "superpixels",
    "warm_start",
    "workers",
]


def merged(base, changes):
    """`changes` laid over `base`, key by key."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


def config(**changes):
    return complete({**MINIMAL, **changes}, SCHEMA)


def nested(path, value):
    """("a", "b"), 1 to {"a": {"b": 1}}."""
    for key in reversed(path):
        value = {key: value}
    return value


def properties(rule, path=()):
    """Every property of the schema: path, rule, and whether it is required."""
    for key, own in rule.get("properties", {}).items():
        yield (*path, key), own, key in rule.get("required", [])
        yield from properties(own, (*path, key))


def lookup(values, path):
    for key in path:
        values = values[key]
    return values


PROPERTIES = list(properties(SCHEMA))


# The schema and the shipped files


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert len(PROPERTIES) > 100


@pytest.mark.parametrize(("path", "rule", "required"), PROPERTIES, ids=[".".join(path) for path, _, _ in PROPERTIES])
def test_every_key_is_described_and_has_a_default_or_is_required(path, rule, required):
    assert rule["description"].strip().endswith(".")
    assert required != ("default" in rule)
    if rule.get("type") == "object":
        free = [("experiments",), ("ablation", "sweeps")]  # whose keys are names that the user gives
        assert path in free or ("properties" in rule and rule["additionalProperties"] is False)
    elif "default" in rule:
        jsonschema.Draft202012Validator(rule).validate(rule["default"])


def test_defaults_are_complete():
    completed = config()
    for path, rule, _ in PROPERTIES:
        if "default" in rule and rule.get("type") != "object":
            assert lookup(completed, path) == rule["default"]
    assert completed["dataset"]["name"] == "mine"
    assert complete(completed, SCHEMA) == completed


def test_completing_changes_neither_its_input_nor_the_schema():
    given, schema = merged(MINIMAL, {"classifier": {"epochs": 3}}), copy.deepcopy(SCHEMA)
    before = copy.deepcopy(given)
    completed = complete(given, schema)
    completed["seeds"]["thresholds"].append(2)
    completed["classifier"]["resize_long"].clear()
    assert given == before and schema == SCHEMA


def test_sections_that_share_a_yaml_alias_get_their_own_defaults():
    completed = complete(yaml.safe_load("""
        dataset: {name: mine, kind: folder}
        classifier: &shared {backbone: tiny, weights: none}
        irn: *shared
        """), SCHEMA)  # fmt: skip
    assert completed["irn"]["radius"] == 10 and "radius" not in completed["classifier"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_are_valid(path):
    """A file that names no kind of data set is laid over config.yaml, any over the ablations, as the Snakefile does."""
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "kind" not in given.get("dataset", {}):
        given = merged(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")), given)
    given = merged(yaml.safe_load((ROOT / "config" / "experiments.yaml").read_text(encoding="utf-8")), given)
    completed = complete(given, SCHEMA)
    for name in completed["experiments"]:
        assert resolve(completed, SCHEMA, f"{name}-seed7")["seed"] == 7


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


LEAVES = [path for path, rule, _ in PROPERTIES if rule.get("type") != "object"]


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_misspelt_key_is_told_the_right_one(path):
    siblings = {other[-1] for other, _, _ in PROPERTIES if other[:-1] == path[:-1]}
    wrong = next(word for word in (f"{path[-1]}s", f"{path[-1]}_") if word not in siblings)
    sentence = refusal(**merged(MINIMAL, nested((*path[:-1], wrong), 1)))
    under = f" under {'.'.join(path[:-1])}" if len(path) > 1 else ""
    assert sentence == f"Config: unknown key {wrong!r}{under}; did you mean {path[-1]!r}?"


def test_a_key_like_no_other_is_told_all():
    assert refusal(superpixels={"q": 1}) == (
        "Config: unknown key 'q' under superpixels; known keys: folder, max_regions, scale, sigma, min_size."
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classifier": {"epochs": "ten"}}, "Config: classifier.epochs: 'ten' is not of type 'integer'."),
        ({"classifier": {"epochs": 0}}, "Config: classifier.epochs: 0 is less than the minimum of 1."),
        ({"classifier": {"cdr": {"loss": "l3"}}}, "Config: classifier.cdr.loss: 'l3' is not one of"),
        ({"classifier": {"resize_long": [320, "x"]}}, "Config: classifier.resize_long.1: 'x' is not of type"),
        ({"classifier": {"freeze_norm": 1}}, "Config: classifier.freeze_norm: 1 is not of type 'boolean'."),
        ({"classifier": None}, "Config: classifier: None is not of type 'object'."),
        ({"irn": {"crop": 510}}, "Config: irn.crop: 510 is not a multiple of 4."),
        ({"experiments": {"ssc": None}}, "Config: experiments.ssc: None is not of type 'object'."),
        ({"experiments": {"a b": {}}}, "Config: experiments: 'a b' does not match"),
        ({"experiment": "../up"}, "Config: experiment: '../up' does not match"),
        ({"dataset": {"kind": "folder"}}, "Config: dataset: 'name' is a required property."),
        ({"dataset": None}, "Config: dataset: None is not of type 'object'."),
        ({"seeds": {"thresholds": [0.2, 0.1]}}, "seeds.thresholds must ascend"),
        ({"seeds": {"thresholds": [0.2, 0.2]}}, "seeds.thresholds must ascend"),
        ({"classifier": {"crop": 500}}, "classifier.crop: 500 is no multiple of the output stride 16."),
        ({"classifier": {"resize_long": [640, 320]}}, "classifier.resize_long: 640 is above 320"),
    ],
)
def test_wrong_values_are_named_by_their_path(changes, sentence):
    assert refusal(**changes).startswith(sentence)


def test_a_data_set_is_needed():
    with pytest.raises(InputError, match="the file: 'dataset' is a required property"):
        complete({}, SCHEMA)


@pytest.mark.parametrize("section", ["classifier", "irn", "segmentation"])
@pytest.mark.parametrize("name", list(OUTPUT_STRIDES))
def test_output_strides_are_those_of_the_backbone(section, name):
    for stride in (4, 8, 16, 32):
        changes = {section: {"backbone": name, "output_stride": stride, "weights": "none"}}
        if stride in OUTPUT_STRIDES[name]:
            assert config(**changes)[section]["output_stride"] == stride
        else:
            assert refusal(**changes).startswith(f"{section}.output_stride: {name} has ")


TINY = {"backbone": "tiny", "weights": "warm_start"}


@pytest.mark.parametrize("section", ["irn", "segmentation"])
def test_a_warm_start_is_of_the_classifiers_backbone(section):
    sentence = refusal(**{section: {"weights": "warm_start", "backbone": "resnet18"}})
    assert sentence.startswith(
        f"{section}.weights: a warm start trains the classifier's backbone (resnet50), not resnet18"
    )
    assert config(classifier=TINY, **{section: TINY})[section]["weights"] == "warm_start"


@pytest.mark.parametrize("section", ["classifier", "irn", "segmentation"])
def test_there_are_no_imagenet_weights_for_tiny(section):
    sentence = refusal(**{section: {"backbone": "tiny", "weights": "imagenet"}})
    assert sentence == f"{section}.weights: there are no ImageNet weights for tiny; use warm_start or none."


def test_weights_of_the_loss_network():
    assert refusal(classifier={"cdr": {"network": "tiny"}}).startswith(
        "classifier.cdr.weights: there are no ImageNet weights for tiny"
    )
    assert refusal(classifier={"cdr": {"weights": "warm_start"}}).startswith(
        "classifier.cdr.weights: a warm start trains the classifier's backbone (resnet50), not vgg19"
    )
    warm = {"network": "tiny", "weights": "warm_start"}
    assert config(classifier={**TINY, "cdr": warm})["classifier"]["cdr"]["network"] == "tiny"
    for unused in ({"enabled": False}, {"loss": "l1"}):
        config(classifier={"cdr": {"weights": "warm_start", **unused}})


@pytest.mark.parametrize(
    ("kind", "key", "other"),
    [
        ("folder", "root", "voc"),
        ("coco", "sbd", "voc"),
        ("voc", "train_images", "coco"),
        ("demo", "val_instances", "coco"),
    ],
)
def test_only_published_data_sets_are_downloaded(kind, key, other):
    sentence = refusal(dataset={"name": "mine", "kind": kind, key: "download"})
    assert sentence == f"dataset.{key}: 'download' is for kind {other}, not {kind}; name your folder or file."
    config(dataset={"name": "mine", "kind": other, key: "download"})


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
    plain, other = resolve(completed, SCHEMA, "ssc"), resolve(completed, SCHEMA, "no_asm")
    assert other == merged(plain, own)
    assert other["classifier"]["asm"]["threshold"] == 0.3 and other["classifier"]["epochs"] == 4
    assert other["classifier"]["resize_long"] == [256, 512]
    assert plain == completed


def test_a_seed_in_the_name_wins():
    completed = config(experiments={"ssc": {}, "five": {"seed": 5}}, experiment="ssc-seed2", seed=1)
    seeds = {name: resolve(completed, SCHEMA, name)["seed"] for name in ("ssc", "ssc-seed2", "five", "five-seed0")}
    assert seeds == {"ssc": 1, "ssc-seed2": 2, "five": 5, "five-seed0": 0}
    without = {key: value for key, value in completed.items() if key != "seed"}
    assert {k: v for k, v in resolve(completed, SCHEMA, "ssc-seed9").items() if k != "seed"} == without


@pytest.mark.parametrize(
    ("name", "parts"),
    [("ssc", ("ssc", None)), ("ssc-seed2", ("ssc", 2)), ("a-seed10", ("a", 10)), ("-seed1", ("-seed1", None)),
     ("ssc-seed", ("ssc-seed", None)), ("ssc-seedx", ("ssc-seedx", None)), ("a-seed1-seed2", ("a-seed1", 2))],
)  # fmt: skip
def test_splitting_the_seed_off(name, parts):
    assert split_seed(name) == parts


@pytest.mark.parametrize("key", SHARED)
def test_shared_keys_do_not_differ_between_experiments(key):
    own = {key: {} if SCHEMA["properties"][key].get("type") == "object" else "x"}
    sentence = refusal(experiments={"ssc": {}, "other": own})
    assert sentence == f"experiments.other.{key} is common to all experiments; set it outside of them."


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"clasifier": {}}, "Config: unknown key 'clasifier' under experiments.odd; did you mean 'classifier'?"),
        (
            {"classifier": {"asm": {"erosin": 3}}},
            "Config: unknown key 'erosin' under experiments.odd.classifier.asm; did you mean 'erosion'?",
        ),
        ({"irn": {"radius": 1}}, "Config: experiments.odd.irn.radius: 1 is less than the minimum of 2."),
        ({"irn": {"output_stride": 4}}, "experiments.odd.irn.output_stride: resnet50 has 8, 16, 32, not 4."),
        (
            {"seeds": {"thresholds": [1, 0]}},
            "experiments.odd.seeds.thresholds must ascend; sort them and drop repeats.",
        ),
    ],
)
def test_experiments_are_checked_as_well(own, sentence):
    assert refusal(experiments={"ssc": {}, "odd": own}) == sentence


def test_unknown_experiments():
    assert refusal(experiment="mine").startswith("experiment: 'mine' is not among experiments (ssc)")
    assert refusal(experiment="mine-seed1").startswith("experiment: 'mine-seed1' is not among experiments (ssc)")
    with pytest.raises(InputError, match="'other' is not declared under experiments; known: ssc"):
        resolve(config(), SCHEMA, "other-seed1")


def test_a_warm_start_depends_on_its_own_section_and_the_window():
    completed = config()
    own = warm_start_settings(completed, backbone="tiny", output_stride=8)
    changed = config(classifier={"epochs": 3, "lr": 1, "asm": {"erosion": 3}}, irn={"epochs": 9})
    assert warm_start_settings(changed, backbone="tiny", output_stride=8) == own
    for changes in ({"warm_start": {"epochs": 2}}, {"classifier": {"crop": 256}}):
        assert warm_start_settings(config(**changes), backbone="tiny", output_stride=8) != own
    # All that the training of the classifier reads is there.
    assert set(completed["classifier"]) - {"weights", "trained"} == set(own)
    assert not any(own[part]["enabled"] for part in ("drs", "cdr", "asm"))


# Text where the schema wants another type: `--config` and YAML's 1e-4


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
        (("dataset", "sbd"), "None", None),
        (("dataset", "sbd"), "12", "12"),
    ],
)
def test_text_is_read_as_the_type_that_the_schema_wants(path, text, value):
    found = lookup(complete(merged(MINIMAL, nested(path, text)), SCHEMA), path)
    assert found == value
    assert type(found) is type(value)


def test_text_in_an_experiment_is_read_too():
    completed = config(experiments={"ssc": {"classifier": {"epochs": "7"}}})
    assert resolve(completed, SCHEMA, "ssc")["classifier"]["epochs"] == 7


@pytest.mark.parametrize(
    ("path", "value"),
    [(("classifier", "epochs"), 2), (("classifier", "output_stride"), 8), (("classifier", "resize_long"), [64, 96])],
)
def test_a_whole_number_with_a_point_is_a_whole_number(path, value):
    """`1.0` and `1e3` pass for integers in JSON Schema; a loop over range(2.0) fails hours later."""
    point = [float(item) for item in value] if isinstance(value, list) else float(value)
    found = lookup(config(**nested(path, point)), path)
    assert found == value
    assert {type(item) for item in (found if isinstance(found, list) else [found])} == {int}


def test_numbers_that_may_be_broken_stay_so():
    assert type(config(classifier={"lr": 1.0})["classifier"]["lr"]) is float
    assert refusal(classifier={"epochs": 1.5}).startswith("Config: classifier.epochs: 1.5 is not of type 'integer'")


# What YAML can say and no setting means


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "nan", "inf", ".5e999"])
def test_numbers_are_finite(value):
    assert "classifier.lr: " in refusal(classifier={"lr": value})
    assert "cams.scales.1: " in refusal(cams={"scales": [1.0, value]})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({2012: 1}, "Config: the key 2012 is no text; quote it."),
        ({"experiments": {False: {}}}, "Config: the key False under experiments is no text; quote it."),
        ({"experiments": {"x": {None: 1}}}, "Config: the key None under experiments.x is no text; quote it."),
        (
            {"dataset": {**MINIMAL["dataset"], "root": ""}},
            "Config: dataset.root is empty; give it a value, or drop the line.",
        ),
        (
            {"dataset": {**MINIMAL["dataset"], "name": "mine\n"}},
            "Config: dataset.name: 'mine\\n' holds a line break or another control character.",
        ),
        (
            {"dataset": {**MINIMAL["dataset"], "root": "a\0b"}},
            "Config: dataset.root: 'a\\x00b' holds a line break or another control character.",
        ),
        (
            {"experiments": {"ssc": {"irn": {"weights": "{x}.safetensors"}}}},
            "Config: experiments.ssc.irn.weights: '{x}.safetensors' holds a curly bracket, which no name may; "
            "rename the file.",
        ),
    ],
)  # fmt: skip
def test_what_no_setting_means_is_refused(changes, sentence):
    with pytest.raises(InputError) as info:
        complete({**MINIMAL, **changes}, SCHEMA)
    assert str(info.value) == sentence


@pytest.mark.parametrize(
    "name", ["a; touch x", "$(touch x)", "`touch x`", "a b", "-rf", "..", "../up", "/etc", "a/b", ""]
)
def test_names_of_folders_are_plain(name):
    assert "dataset.name" in refusal(dataset={"name": name, "kind": "folder"})
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
