"""The workflow through a real Slurm: arrays of shards; trainings that are cancelled or warned end at the same bytes."""

import re
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import yaml

from ssc.runtime.files import file_digest
from tests.faults.slurm_node import queue, slurm_node, why_not
from tests.faults.snakemake import ROOT, rule_texts

PROFILE = ROOT / "profiles" / "slurm" / "config.yaml"
# Without accounting the queue itself tells how a job ended. The rest spares waiting.
HERE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]
# What the trainings are sent in the middle: a plain scancel is SIGTERM first.
SENT = {"train_classifier": [], "train_segmentation": ["--signal=USR1"]}
# Up to the predictions, with the masks: what comes after them are jobs like those before.
TARGETS = [f"results/tiny/{path}/{k}-of-2.zip" for path in ("masks/train", "ssc/predictions/val") for k in (1, 2)]
WEIGHTS = {"train_classifier": "classifier.safetensors", "train_segmentation": "segmentation.safetensors"}


def results(folder):
    return folder / "results" / "tiny"


def rule_of(job):
    return re.match(r"rule_(\w+?)(_wildcards_|$)", job["comment"])[1]


def stop_trainings(environment, folder, submitted):
    """Stop each training once, as soon as it has a checkpoint; ids of the Slurm jobs by rule."""
    stopped = {}
    end = time.monotonic() + 1800
    while submitted.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
        for rule, options in SENT.items():
            if rule not in stopped and (results(folder) / "ssc" / f"{WEIGHTS[rule]}.checkpoint").exists():
                stopped[rule] = next(job["id"] for job in queue(environment, states="running") if rule_of(job) == rule)
                subprocess.run(["scancel", *options, stopped[rule]], env=environment, check=True)
    return stopped


@pytest.fixture(scope="module")
def environment():
    if reason := why_not():
        pytest.skip(f"No Slurm here: {reason}.")
    with ExitStack() as stack:
        try:
            found = stack.enter_context(slurm_node())
        except RuntimeError as error:
            pytest.skip(str(error))
        yield found


@pytest.fixture(scope="module")
def run(environment, campaign):
    """A run through the queue whose trainings are stopped once, and the undisturbed one, without Slurm."""
    place = campaign.place("slurm")
    log = place.folder / "output.txt"
    submitted = place.start(log, *TARGETS, "--profile", PROFILE.parent, *HERE, environment=environment)
    try:
        stopped = stop_trainings(environment, place.folder, submitted)
        assert submitted.returncode == 0, log.read_text()[-5000:]
    finally:
        submitted.kill()
        submitted.wait()
    return SimpleNamespace(
        folder=place.folder,
        local=campaign.reference.folder,
        output=log.read_text(),
        stopped=stopped,
        jobs=queue(environment, states="all"),
    )


def test_every_job_ran_under_slurm(run):
    table = run.output.split("Job stats:")[1].split("total")[0]
    local = {name for name, text in rule_texts().items() if "localrule: True" in text}
    jobs = re.findall(r"^(\w+) +(\d+)$", table, flags=re.M)
    planned = {rule: int(count) for rule, count in jobs if rule not in local}
    assert len(planned) >= 10
    assert Counter(rule_of(job) for job in run.jobs if job["state"] == "COMPLETED") == planned


def test_shards_that_are_ready_together_are_one_array(run):
    for rule, shards in {"masks": 2, "superpixels": 2, "cams": 2, "random_walk": 2, "predictions": 2}.items():
        ids = [job["id"].split("_") for job in run.jobs if rule_of(job) == rule]
        assert len({array for array, _ in ids}) == 1
        assert sorted(task for _, task in ids) == [str(number + 1) for number in range(shards)]


def test_a_training_asks_for_a_gpu_and_for_more_memory_when_it_is_retried(run):
    asked = [(job["gpus"], job["memory"]) for job in run.jobs if rule_of(job) == "train_classifier"]
    assert sorted(asked) == [("gres:gpu:1", "24000M"), ("gres:gpu:1", "48000M")]


@pytest.mark.parametrize(("rule", "state"), [("train_classifier", "CANCELLED"), ("train_segmentation", "FAILED")])
def test_a_stopped_training_is_retried_and_goes_on_to_the_same_bytes(run, rule, state):
    assert [job["state"] for job in run.jobs if job["id"] == run.stopped[rule]] == [state]
    assert re.search(r"Resumed after step \d+", (results(run.folder) / "ssc" / "logs" / f"{rule}.log").read_text())
    weights = [results(folder) / "ssc" / WEIGHTS[rule] for folder in (run.folder, run.local)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_warned_training_says_so_and_the_processes_around_it_live_on(run):
    (log,) = run.folder.glob(f".snakemake/slurm_logs/rule_train_segmentation/*/{run.stopped['train_segmentation']}.log")
    assert "Ended by SIGUSR1 after step" in log.read_text()
    assert "User defined signal" not in log.read_text()


def test_results_are_those_of_a_local_run(run):
    def found(folder):
        files = [path for path in results(folder).rglob("*") if path.suffix in (".zip", ".safetensors")]
        return {path.relative_to(folder): file_digest(path) for path in files if not path.name.startswith(".")}

    made, expected = found(run.folder), found(run.local)
    assert len(made) >= 15
    assert made == {path: expected[path] for path in made}


def test_the_profile_names_the_rules_that_it_means():
    profile = yaml.safe_load(PROFILE.read_text())
    given = profile["set-resources"]
    sharded = {name for name, text in rule_texts().items() if re.search(r"log:\s.*\{\{shard\}\}", text)}
    # Those that stand for a rule of the table, whose place they take in few runs, are submitted one by one.
    assert set(profile["slurm-array-jobs"].split(", ")) == sharded - {"ready_cams", "ready_pseudo_labels", "cam_labels"}
    assert set(given) == {name for name, text in rule_texts().items() if "gpu=GPU" in text}
    assert {name for name in given if "--signal=USR1@" in given[name].get("slurm_extra", "")} == {
        name for name, text in rule_texts().items() if "gpu=GPU" in text and "runtime=growing" not in text
    }
