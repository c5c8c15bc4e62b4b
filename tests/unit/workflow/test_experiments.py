from functools import cache
from itertools import combinations, product
from pathlib import Path

import pytest
import yaml

from ssc.runtime.errors import InputError
from ssc.workflow.config import complete, resolve
from ssc.workflow.experiments import (
    decisive_settings,
    made_stages,
    missing_weights,
    owner,
    reported_stages,
    start_weights,
    sweep_experiments,
    sweep_name,
    uses,
    with_seed,
)

ROOT = Path(__file__).parents[3]
STAGES = ["classifier", "cams", "seeds", "irn_labels", "irn", "pseudo_labels", "segmentation", "predictions"]


def configuration(experiments, **more):
    config = {"dataset": {"name": "x", "kind": "demo"}, "experiments": {"ssc": {}, **experiments}, **more}
    return complete(config)


def owners(config, experiment):
    """Owner of each stage's artefacts."""
    resolved = cache(lambda name: resolve(config, name))
    return {stage: owner(resolved(experiment), stage, config["experiments"], resolved) for stage in STAGES}


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        ({}, STAGES),
        ({"prediction": {"flip": False}}, STAGES[:7]),
        ({"segmentation": {"backbone": "vgg16"}}, STAGES[:6]),
        ({"pseudo_labels": {"threshold": 0.3}}, STAGES[:5]),
        ({"pseudo_labels": {"method": "crf"}}, STAGES[:5]),
        ({"pseudo_labels": {"method": "irn", "crf": {"confidence": 0.5}}}, STAGES),
        ({"irn": {"epochs": 1}}, STAGES[:4]),
        ({"irn_labels": {"foreground_threshold": 0.4}}, STAGES[:3]),
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
    resolved = cache(lambda name: resolve(config, name))
    assert [with_seed("other", seed, resolved) for seed in (0, 3)] == ["other-seed0", "other"]


def test_ready_weights_and_files_stand_for_all_before_them():
    given = {"ready": {"cams": "theirs", "segmentation": "net.safetensors"}}
    config = configuration({"a": given, "b": {**given, "classifier": {"epochs": 1}, "irn": {"epochs": 1}}})
    found = owners(config, "b")
    assert found["cams"] == found["seeds"] == found["irn_labels"] == found["predictions"] == "a"
    assert found["classifier"] == found["irn"] == "b"
    assert decisive_settings(resolve(config, "b"), "predictions")["segmentation"] == "net.safetensors"


def test_labels_without_a_walk_depend_on_the_cams_and_their_own_keys():
    ready = {"ready": {"cams": "theirs", "irn": "irn.safetensors"}}
    plain, walked = ({**ready, "pseudo_labels": {"method": method}} for method in ("none", "irn"))
    config = configuration({"plain": plain, "other_irn": {**plain, "irn": {"epochs": 1}}, "walked": walked})
    found = decisive_settings(resolve(config, "plain"), "pseudo_labels")
    assert sorted(found) == ["cams", "dtype", "pseudo_labels", "stride"]
    assert found["pseudo_labels"]["method"] == "none" and "beta" not in found["pseudo_labels"]
    assert owners(config, "other_irn")["predictions"] == "plain"
    assert owners(config, "walked")["pseudo_labels"] == "walked"
    assert "irn" in decisive_settings(resolve(config, "walked"), "pseudo_labels")


# What a run makes


def run_of(*, ready=(), **own):
    """Settings of an experiment that names ready results for some stages."""
    weights = {"classifier": {"weights": "none", "cdr": {"weights": "none"}}, "irn": {"weights": "none"}}
    weights["segmentation"] = {"weights": "none"}
    for section, values in own.items():
        weights[section] = {**weights.get(section, {}), **values}
    return resolve(configuration({"mine": {"ready": dict.fromkeys(ready, "x"), **weights}}), "mine")


@pytest.mark.parametrize(
    ("given", "reported", "made"),
    [
        ([], ["seeds", "pseudo_labels"], STAGES),
        (["segmentation"], [], ["predictions"]),
        (["pseudo_labels"], ["pseudo_labels"], STAGES[5:]),
        (["cams"], ["seeds", "pseudo_labels"], STAGES[1:]),
        (["classifier"], ["seeds", "pseudo_labels"], STAGES[1:]),
        (["irn"], ["seeds", "pseudo_labels"], ["classifier", "cams", "seeds", *STAGES[5:]]),
        (["cams", "irn"], ["seeds", "pseudo_labels"], ["cams", "seeds", *STAGES[5:]]),
        (["classifier", "segmentation"], ["seeds"], ["cams", "seeds", "predictions"]),
        (["pseudo_labels", "segmentation"], ["pseudo_labels"], ["pseudo_labels", "predictions"]),
        (
            ["classifier", "irn", "segmentation"],
            ["seeds", "pseudo_labels"],
            ["cams", "seeds", "pseudo_labels", "predictions"],
        ),
    ],
)
def test_what_is_ready_is_not_made_nor_what_only_it_needs(given, reported, made):
    settings = run_of(ready=given)
    assert reported_stages(settings) == [*reported, "predictions"]
    superpixels = ["superpixels"] if "classifier" in made else []
    assert made_stages(settings) == ["data", *superpixels, *made]


@pytest.mark.parametrize(
    ("kind", "changes", "made"),
    [
        ("folder", {}, True),
        ("folder", {"cross_validation": False}, False),
        ("folder", {"ready": {"classifier": "x"}}, False),
        ("folder", {"weights": "none"}, True),
        ("folder", {"weights": "warm_start"}, False),  # trained on the labels of all photos
        ("folder", {"classifier": {"weights": "mine.safetensors"}}, False),
        ("demo", {}, False),  # its val photos have labels
    ],
)
def test_the_classifier_of_own_photos_is_cross_validated(kind, changes, made):
    root = {"root": "photos"} if kind == "folder" else {}
    settings = resolve(complete({"dataset": {"kind": kind, "name": "x", **root}, "shards": 2, **changes}), "ssc")
    without = settings.model_copy(update={"cross_validation": False})
    assert set(made_stages(settings)) - set(made_stages(without)) == ({"cross_validation"} if made else set())


# By stage, what its rule opens: told here again, without the table.
READS = {
    "classifier": ["data"],
    "cams": ["data", "classifier"],
    "seeds": ["data", "cams"],
    "irn_labels": ["data", "cams"],
    "irn": ["data", "irn_labels"],
    "pseudo_labels": ["data", "cams", "irn"],
    "segmentation": ["data", "pseudo_labels"],
    "predictions": ["data", "segmentation"],
}
FOLDERS, FILES = {"cams", "pseudo_labels"}, {"classifier", "irn", "segmentation"}
GIVEN = [set(some) for k in range(6) for some in combinations(sorted(FOLDERS | FILES), k)]


def slowly_made(given, *, asm, refined, warm, walks=True):
    """The stages whose files a run opens that nobody gives it, by recursion from each mIoU that it can report.

    Args:
        given: stages that stand ready.
        asm, refined: the classifier's training, and the CAMs, read superpixels.
        warm: trainings that start from the warm start.
        walks: pseudo-labels are made by IRN's random walk.
    """
    reads = READS if walks else {**READS, "pseudo_labels": ["data", "cams"]}

    def needed(stage):
        """All that is made for the files of a stage."""
        if stage in given & FILES:
            return set()
        if stage in given & FOLDERS:
            return {stage, "data"}
        own = {stage, *(["warm_start"] if stage in warm else [])}
        if (stage == "classifier" and asm) or (stage == "cams" and refined):
            own.add("superpixels")
        return own.union(*(needed(source) for source in reads.get(stage, ())))

    wanted = {"data"} | needed("predictions")
    if "cams" in wanted or given & {"cams", "classifier"}:
        wanted |= needed("seeds")
    if "pseudo_labels" in wanted or "pseudo_labels" in given:
        wanted |= needed("pseudo_labels")
    # With seeds at hand, ready weights of IRN make pseudo-labels without a training, as no walk does.
    if given & {"cams", "classifier"} and ("irn" in given or not walks):
        wanted |= needed("pseudo_labels")
    return wanted


ORDER = ["data", "superpixels", "warm_start", *STAGES]


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: "+".join(sorted(given)))
def test_what_a_run_makes_against_a_slow_formulation(given):
    """Every combination of ready results, of what reads superpixels, and of what starts warm."""
    for asm, refined, loss_network, method, warm in product(
        (True, False),
        (True, False),
        (True, False),
        ("irn", "crf"),
        ([], ["classifier"], ["irn"], ["segmentation"], ["irn", "segmentation"]),
    ):
        own = {stage: {"weights": "warm_start"} for stage in warm}
        own["classifier"] = {
            **own.get("classifier", {}),
            "backbone": "resnet50",
            "asm": {"enabled": asm},
            "cdr": {"network": "resnet50", "weights": "warm_start" if loss_network else "none"},
        }
        if "segmentation" in warm:
            own["segmentation"]["backbone"] = "resnet50"
        cams = {"refine": "superpixels" if refined else "none"}
        settings = run_of(ready=given, cams=cams, pseudo_labels={"method": method}, **own)
        starts = {*warm, *(["classifier"] if loss_network else [])}
        expected = slowly_made(given, asm=asm, refined=refined, warm=starts, walks=method == "irn")
        assert made_stages(settings) == [stage for stage in ORDER if stage in expected], (asm, refined, method, starts)
        assert uses(settings, "irn") == ("pseudo_labels" in expected - given and method == "irn")


def test_ready_superpixels_are_read_into_archives():
    config = configuration({}, ready={"superpixels": "theirs"}, classifier={"weights": "none"})
    assert "superpixels" in made_stages(resolve(config, "ssc"))


def test_start_weights_and_missing_files(tmp_path):
    (tmp_path / "there.safetensors").touch()
    there, gone = str(tmp_path / "there.safetensors"), str(tmp_path / "gone.safetensors")
    settings = run_of(classifier={"weights": there, "cdr": {"weights": gone}}, irn={"weights": "none"})
    assert start_weights(settings) == {"classifier": [there, gone], "irn": ["none"], "segmentation": ["none"]}
    assert missing_weights(settings) == ("classifier.cdr.weights", gone)
    settings = run_of(classifier={"cdr": {"loss": "l1"}}, irn={"weights": gone})
    assert start_weights(settings)["classifier"] == ["none"]
    assert missing_weights(settings) == ("irn.weights", gone)
    assert missing_weights(run_of(ready=["irn"])) == ("ready.irn", "x")
    assert missing_weights(run_of(classifier={"weights": there})) is None
    assert missing_weights(run_of(ready=["cams"])) is None  # a folder's files are named where they are read


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
    assert complete(config) == config


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
        own = resolve(config, name).classifier
        cdr = (own.cdr.source, own.cdr.loss) if own.cdr.enabled else None
        asm = ("RAS" if own.asm.reliable else "no RAS") if own.asm.enabled else None
        switches[name] = (own.drs.enabled, cdr, asm)
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
