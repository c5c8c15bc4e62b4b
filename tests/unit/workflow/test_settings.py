"""The classes of the configuration: descriptions and defaults, reading of values, what results depend on."""

from typing import ClassVar, get_args

import pytest
from pydantic import Field, ValidationError

from ssc.models.networks import NETWORKS
from ssc.workflow.section import Section
from ssc.workflow.settings import (
    CDR,
    KINDS,
    Classifier,
    Common,
    Demo,
    Experiment,
    LossTerm,
    Prediction,
    PseudoLabels,
    Settings,
    loss_terms,
    warm_start_settings,
)

DEMO = {"name": "x", "kind": "demo"}


def sections(section=Settings, place=""):
    """Every section class by its dotted place."""
    yield place, section
    for key, field in section.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from sections(kind, f"{place}.{key}.{kind.__name__}")


SECTIONS = dict(sections())
LEAVES = [
    pytest.param(section, key, id=f"{section.__name__}.{key}")
    for section in dict.fromkeys(SECTIONS.values())
    for key, field in section.model_fields.items()
    if not isinstance(field.default, Section)
]


def typed(value):
    """A value with its types, so that 50 and 50.0 differ."""
    return repr([*value.items()] if isinstance(value, dict) else value)


# Keys


def test_there_are_many_keys():
    assert len(SECTIONS) > 20 and len(LEAVES) > 130


@pytest.mark.parametrize(("section", "key"), LEAVES)
def test_every_key_is_described(section, key):
    assert section.model_fields[key].description.endswith(".")


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.__name__)
def test_every_section_is_described_by_its_own_words(section):
    assert section.__dict__["__doc__"].strip().endswith(".")


@pytest.mark.parametrize(("section", "key"), LEAVES)
def test_a_default_is_what_a_file_with_it_gives(section, key):
    """A default of another type would have another fingerprint than the same value in a file."""
    field = section.model_fields[key]
    if field.is_required():
        return
    needed = {name: "x" for name, other in section.model_fields.items() if other.is_required()}
    if section.__name__ in ("Settings", "Common"):
        needed = {"dataset": DEMO}
    elif "kind" in needed:
        needed["kind"] = get_args(section.model_fields["kind"].annotation)[0]
    read = section.model_validate({**needed, key: field.default})
    assert typed(getattr(read, key)) == typed(field.default)


def test_all_of_the_settings_are_either_common_or_an_experiments_own():
    assert set(Settings.model_fields) == set(Common.model_fields) | set(Experiment.model_fields)
    assert not set(Common.model_fields) & set(Experiment.model_fields)


def test_a_kind_is_a_class():
    for kind, section in KINDS.items():
        assert get_args(section.model_fields["kind"].annotation) == (kind,)
    assert set(KINDS.values()) == set(get_args(Common.model_fields["dataset"].annotation))


@pytest.mark.parametrize("name", [*NETWORKS, "tf_efficientnet_lite0", "convnext_tiny.in12k_ft_in1k"])
def test_networks_are_those_of_the_table_and_timms(name):
    assert Classifier(backbone=name).backbone == name
    assert CDR(network=name).network == name


# Reading


class Part(Section):
    """A part that is off."""

    enabled: bool = False
    strength: float = Field(1.0, ge=0)


class Whole(Section):
    """A section with keys of all types."""

    aside: ClassVar = frozenset({"limit"})
    count: int = Field(3, ge=1)
    rate: float = 0.5
    on: bool = True
    name: str = "last"
    path: str | None = None
    size: int | None = None
    limit: int = 9
    rates: list[float] = [1.0, 2.0]  # noqa: RUF012
    part: Part = Part()


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("count", "4", 4),
        ("count", 4.0, 4),
        ("rate", "1e-4", 1e-4),
        ("rate", 2, 2.0),
        ("on", "False", False),
        ("on", " true ", True),
        ("name", "none", "none"),
        ("name", "7", "7"),
        ("path", "None", None),
        ("path", "null", None),
        ("path", "7", "7"),
        ("path", "nowhere", "nowhere"),
        ("size", "null", None),
        ("size", "7", 7),
        ("rates", ["0.5", 1], [0.5, 1.0]),
    ],
)
def test_text_and_whole_numbers_become_the_type(key, given, value):
    found = getattr(Whole(**{key: given}), key)
    assert typed(found) == typed(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", True),
        ("count", 1.5),
        ("count", "1.5"),
        ("count", "true"),
        ("count", None),
        ("count", 0),
        ("rate", False),
        ("rate", float("nan")),
        ("rate", "inf"),
        ("rates", [True]),
        ("rates", [1.0, float("inf")]),
        ("rates", 1.0),
        ("on", 1),
        ("on", "yes"),
        ("on", None),
        ("name", 7),
        ("name", None),
        ("name", True),
        ("size", False),
        ("part", None),
        ("part", {"strenght": 1}),
        ("nmae", "x"),
    ],
)
def test_values_of_another_type_and_unknown_keys_are_refused(key, value):
    with pytest.raises(ValidationError):
        Whole(**{key: value})


def test_a_section_is_read_by_attributes_and_does_not_change():
    whole = Whole(part={"enabled": "true", "strength": "2"})
    assert whole.part.strength == 2.0
    with pytest.raises(ValidationError):
        whole.count = 4


# What a result depends on


def test_decisive_keys_are_all_but_those_aside_and_of_parts_that_are_off():
    rest = {"count": 3, "rate": 0.5, "on": True, "name": "last", "path": None, "size": None, "rates": [1.0, 2.0]}
    assert Whole().decisive() == rest
    assert Whole(limit=3, part={"strength": 2}).decisive() == rest
    assert Whole(part={"enabled": True}).decisive() == {**rest, "part": {"enabled": True, "strength": 1.0}}
    assert Whole(count=4).decisive() == {**rest, "count": 4}


def test_of_a_part_that_is_on_by_default_it_counts_that_it_is_off():
    off = Classifier(cdr={"enabled": False}).decisive()
    assert off["cdr"] == {"enabled": False}
    assert Classifier(cdr={"enabled": False, "alpha": 3, "loss": "l1"}).decisive() == off
    assert Classifier(cdr={"alpha": 3}).decisive() != Classifier().decisive()
    assert {**Classifier().decisive(), "cdr": off["cdr"]} == off


def test_pseudo_labels_depend_on_the_keys_of_their_method():
    shared = {"threshold", "keep", "rounding", "unlabelled", "corrected"}
    walk = {"scale", "radius", "beta", "exp_times", "pad", "mirror", "divide"}
    # Word for word what results depended on before there was a choice.
    assert set(PseudoLabels().decisive()) == shared | walk
    assert set(PseudoLabels(method="crf").decisive()) == {*shared, "method", "crf"}
    assert set(PseudoLabels(method="none").decisive()) == {*shared, "method"}
    changed = {"beta": 2, "crf": {"confidence": 0.5}}
    assert PseudoLabels(method="none", **changed).decisive() == PseudoLabels(method="none").decisive()


def test_a_loss_term_that_is_added_and_off_changes_no_earlier_result():
    class Smoothness(LossTerm):
        weight: float = 0.5

    class Extended(Classifier):
        smoothness: Smoothness = Smoothness()

    assert Extended().decisive() == Classifier().decisive()
    assert list(Extended().words()) == list(Classifier().words())
    used = Extended(smoothness={"enabled": True})
    assert used.decisive()["smoothness"] == {"enabled": True, "start_epoch": 0, "ramp_epochs": 0, "weight": 0.5}
    assert "smoothness" in used.words()


def test_words_are_texts_and_the_parts_that_are_on():
    assert list(Whole().words()) == ["last"]
    assert list(Whole(path="p", part={"enabled": True}).words()) == ["last", "p", "part"]
    assert set(Classifier().words()) == {
        *("resnet50", "imagenet", "drs", "cdr", "perceptual", "last", "vgg19", "relu1", "normalised", "one", "asm")
    }
    plain = Classifier(**{key: {"enabled": False} for key in ("drs", "cdr", "asm")})
    assert list(plain.words()) == ["resnet50", "imagenet"]


def test_limits_and_mirrors_of_a_data_set_decide_nothing():
    for kind, section in KINDS.items():
        needed = {key: "x" for key, field in section.model_fields.items() if field.is_required()}
        dataset = section.model_validate({**needed, "kind": kind})
        assert set(dataset.decisive()) == set(section.model_fields) - {"mirror", "max_pixels", "check_space"}
    assert Demo(**DEMO, max_pixels=2000, check_space=False).decisive() == Demo(**DEMO).decisive()


# Other things said here


def test_the_terms_of_the_classifiers_loss():
    assert loss_terms() == ["cdr", "asm"]
    classifier = Classifier(cdr={"alpha": 3}, asm={"beta": 4})
    assert [getattr(classifier, key).weight for key in loss_terms()] == [3, 4]


def test_a_warm_start_depends_on_its_own_section_and_the_window():
    def warm(**changes):
        return warm_start_settings(Settings(dataset=DEMO, **changes), backbone="tiny", output_stride=8)

    own = warm()
    assert warm(classifier={"epochs": 3, "lr": 1, "asm": {"erosion": 3}}, irn={"epochs": 9}) == own
    assert warm(warm_start={"epochs": 2}) != own
    assert warm(classifier={"crop": 256}) != own
    assert (own.backbone, own.output_stride, own.epochs, own.lr, own.head_lr) == ("tiny", 8, 15, 0.1, 0.1)
    assert not any(getattr(own, part).enabled for part in ("drs", *loss_terms()))
    assert (own.stop_gradient_after, own.freeze_norm) == (0, False)


@pytest.mark.parametrize(
    ("prediction", "steps"),
    [
        ({}, ["single scale", "multi-scale", "multi-scale + flip", "multi-scale + flip + CRF"]),
        ({"scales": [1], "flip": False, "crf": {"enabled": False}}, ["single scale"]),
        ({"scales": [1]}, ["single scale", "single scale + flip", "single scale + flip + CRF"]),
        ({"flip": False}, ["single scale", "multi-scale", "multi-scale + CRF"]),
    ],
)
def test_steps_of_a_prediction(prediction, steps):
    assert Prediction(**prediction).steps() == steps
