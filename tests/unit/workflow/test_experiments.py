from functools import cache
from pathlib import Path

import pytest
import yaml

from ssc.runtime.errors import InputError
from ssc.workflow.config import complete, load_schema, resolve
from ssc.workflow.experiments import (
    decisive_settings,
    made_stages,
    owner,
    reported_stages,
    sweep_experiments,
    sweep_name,
    with_seed,
)

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "config" / "schema.yaml")
STAGES = ["classifier", "cams", "seeds", "irn_labels", "irn", "pseudo_labels", "segmentation", "predictions"]


def configuration(experiments, **more):
    config = {"dataset": {"name": "x", "kind": "demo"}, "experiments": {"ssc": {}, **experiments}, **more}
    return complete(config, SCHEMA)


def owners(config, experiment):
    """Owner of each stage's artefacts."""
    resolved = cache(lambda name: resolve(config, SCHEMA, name))
    return {stage: owner(resolved(experiment), stage, config["experiments"], resolved) for stage in STAGES}


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        ({}, STAGES),
        ({"prediction": {"flip": False}}, STAGES[:7]),
        ({"segmentation": {"backbone": "vgg16"}}, STAGES[:6]),
        ({"pseudo_labels": {"background": 0.3}}, STAGES[:5]),
        ({"irn": {"epochs": 1}}, STAGES[:4]),
        ({"irn_labels": {"foreground": 0.4}}, STAGES[:3]),
        ({"seeds": {"threshold": 0.3}}, [stage for stage in STAGES if stage != "seeds"]),
        ({"cams": {"refine": "superpixels"}}, ["classifier"]),
        ({"classifier": {"cdr": {"alpha": 2}}}, []),
    ],
)
def test_an_experiment_shares_what_comes_before_its_first_difference(own, shared):
    config = configuration({"mine": own})
    for experiment, suffix in (("mine", ""), ("mine-seed9", "-seed9")):
        found = owners(config, experiment)
        assert {stage for stage, name in found.items() if name == f"ssc{suffix}"} == set(shared)
        assert set(found.values()) <= {f"ssc{suffix}", f"mine{suffix}"}


def test_the_seed_that_an_experiment_has_anyway_makes_no_new_one():
    config = configuration({"other": {"seed": 3}})
    assert owners(config, "ssc-seed0") == dict.fromkeys(STAGES, "ssc")
    assert owners(config, "other-seed3") == dict.fromkeys(STAGES, "ssc-seed3")
    resolved = cache(lambda name: resolve(config, SCHEMA, name))
    assert [with_seed("other", seed, resolved) for seed in (0, 3)] == ["other-seed0", "other"]


def test_ready_weights_and_files_stand_for_all_before_them():
    ready = {"cams": {"folder": "theirs"}, "segmentation": {"trained": "net.safetensors"}}
    config = configuration({"a": ready, "b": {**ready, "classifier": {"epochs": 1}, "irn": {"epochs": 1}}})
    found = owners(config, "b")
    assert found["cams"] == found["seeds"] == found["irn_labels"] == found["predictions"] == "a"
    assert found["classifier"] == found["irn"] == "b"
    assert decisive_settings(resolve(config, SCHEMA, "b"), "predictions")["segmentation"] == "net.safetensors"


@pytest.mark.parametrize(
    ("ready", "reported", "made"),
    [
        ({}, ["seeds", "pseudo_labels"], STAGES),
        ({"segmentation": "trained"}, [], ["predictions"]),
        ({"pseudo_labels": "folder"}, ["pseudo_labels"], STAGES[5:]),
        ({"cams": "folder"}, ["seeds", "pseudo_labels"], STAGES[1:]),
        ({"classifier": "trained"}, ["seeds", "pseudo_labels"], STAGES[1:]),
        ({"irn": "trained"}, ["seeds", "pseudo_labels"], ["classifier", "cams", "seeds", *STAGES[5:]]),
        ({"cams": "folder", "irn": "trained"}, ["seeds", "pseudo_labels"], ["cams", "seeds", *STAGES[5:]]),
        ({"classifier": "trained", "segmentation": "trained"}, ["seeds"], ["cams", "seeds", "predictions"]),
        ({"pseudo_labels": "folder", "segmentation": "trained"}, ["pseudo_labels"], ["pseudo_labels", "predictions"]),
        (
            {"classifier": "trained", "irn": "trained", "segmentation": "trained"},
            ["seeds", "pseudo_labels"],
            ["cams", "seeds", "pseudo_labels", "predictions"],
        ),
    ],
)
def test_what_is_ready_is_not_made_nor_what_only_it_needs(ready, reported, made):
    settings = resolve(configuration({"mine": {stage: {key: "x"} for stage, key in ready.items()}}), SCHEMA, "mine")
    assert reported_stages(settings) == [*reported, "predictions"]
    assert made_stages(settings) == made


def test_sweeps_make_experiments():
    sweeps = {"alpha": {"key": "classifier.cdr.alpha", "values": [0.5, 1, 10]}}
    assert sweep_experiments(sweeps) == {
        f"alpha_{value}": {"classifier": {"cdr": {"alpha": value}}} for value in (0.5, 1, 10)
    }
    assert [sweep_name("lr", value) for value in (1e-5, 1.0, 20)] == ["lr_0.00001", "lr_1", "lr_20"]
    config = configuration({}, ablation={"sweeps": sweeps})
    assert list(config["experiments"]) == ["ssc", "alpha_0.5", "alpha_1", "alpha_10"]
    assert owners(config, "alpha_1")["seeds"] == "ssc"
    assert owners(config, "alpha_10")["seeds"] == "alpha_10"


def test_values_of_a_sweep_may_arrive_as_text():
    given = {"sweeps": {"alpha": {"key": "classifier.cdr.alpha", "values": ["0.5", 2]}}}
    config = configuration({}, ablation=given)
    assert config["ablation"]["sweeps"]["alpha"]["values"] == [0.5, 2]
    assert list(config["experiments"]) == ["ssc", "alpha_0.5", "alpha_2"]


def test_a_configuration_that_was_completed_stays_as_it_is():
    config = configuration({}, ablation={"sweeps": {"beta": {"key": "classifier.asm.beta", "values": [1, 2]}}})
    assert complete(config, SCHEMA) == config


@pytest.mark.parametrize(
    ("sweep", "experiments", "sentence"),
    [
        ({"key": "classifier.cdr.alhpa", "values": [1]}, {}, "did you mean 'alpha'"),
        ({"key": "classifier.drs.delta", "values": [1.5]}, {}, r"experiments\.s_1\.5\.classifier\.drs\.delta"),
        ({"key": "classifier.cdr.alpha", "values": [-1]}, {}, "ablation.sweeps.s.values"),
        ({"key": "alpha", "values": [1]}, {}, "ablation.sweeps.s.key"),
        ({"key": "classifier.cdr.alpha", "values": []}, {}, "ablation.sweeps.s.values"),
        ({"key": "dataset.size", "values": [64]}, {}, "dataset is common to all experiments"),
        ({"key": "classifier.cdr.alpha", "values": [1]}, {"s_1": {"seed": 2}}, "experiments.s_1 is also the name"),
    ],
)
def test_bad_sweeps_are_told(sweep, experiments, sentence):
    with pytest.raises(InputError, match=sentence):
        configuration(experiments, ablation={"sweeps": {"s": sweep}})


def test_an_ablation_of_an_undeclared_experiment_is_told():
    with pytest.raises(InputError, match=r"ablation.experiments: 'nothing'"):
        configuration({}, ablation={"experiments": ["nothing"]})


def test_the_shipped_experiments_are_those_of_the_papers_tables():
    from ssc.report.paper import ABLATION

    shipped = yaml.safe_load((ROOT / "config" / "experiments.yaml").read_text())
    config = configuration(shipped["experiments"], ablation=shipped["ablation"])
    assert set(ABLATION) <= set(shipped["experiments"])
    switches = {}
    for name in ABLATION:
        own = resolve(config, SCHEMA, name)["classifier"]
        cdr = (own["cdr"]["source"], own["cdr"]["loss"]) if own["cdr"]["enabled"] else None
        asm = ("RAS" if own["asm"]["reliable"] else "no RAS") if own["asm"]["enabled"] else None
        switches[name] = (own["drs"]["enabled"], cdr, asm)
    assert switches == {
        "baseline": (False, None, None),
        "drs": (True, None, None),
        "cdr_early": (True, ("early", "perceptual"), None),
        "cdr": (True, ("last", "perceptual"), None),
        "asm_without_ras": (True, ("last", "perceptual"), "no RAS"),
        "ssc": (True, ("last", "perceptual"), "RAS"),
        "cdr_l1": (True, ("last", "l1"), None),
        "cdr_l2": (True, ("last", "l2"), None),
    }
    found = owners(config, "baseline_superpixels")
    assert (found["classifier"], found["cams"]) == ("baseline", "baseline_superpixels")
