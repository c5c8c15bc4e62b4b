# Names and the one provider of configuration values that all rules use.

import os
import shutil
import signal
import time
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError

from ssc.workflow.config import complete, load_schema, refuse_repeats, resolve, warm_start_settings
from ssc.data.index import SPLITS, read_index
from ssc.data.releases import BESIDE, FOLDER, RELEASES, located, release_folders
from ssc.runtime.errors import InputError
from ssc.workflow.disk import check_room
from ssc.workflow.experiments import made_stages, owner, reported_stages, sweep_experiments, sweep_name, with_seed
from ssc.report.paper import ABLATION as ABLATION_ROWS
from ssc.workflow.provenance import source_digest
from ssc.workflow.experiments import step_names

SCHEMA = load_schema(workflow.source_path("../config/schema.yaml"))
try:
    for file in workflow.configfiles:
        refuse_repeats(file)
    config.update(complete(config, SCHEMA))
except InputError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{config['dataset']['name']}"
# Of a folder that cannot be written to Snakemake says no more than a traceback does.
for folder in (Path(".snakemake").absolute(), Path(RESULTS).absolute()):
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        raise WorkflowError(f"{nearest} is read-only, or another's: make it writable, or work elsewhere (--directory).")
RUN = f"{RESULTS}/{{experiment}}"
ABLATION = f"{RESULTS}/ablation"
WEIGHTS = "resources/weights"
ARCHIVES = "resources/archives"
SHARDS = [f"{number}-of-{config['shards']}" for number in range(1, config["shards"] + 1)]
# The index, and its tables of the splits and of their shards: a rule reads the smallest that it can do with, so that a
# new image changes what it touches alone.
INDEX = f"{RESULTS}/index.tsv"
SPLIT_INDEX = f"{RESULTS}/index/{{split}}.tsv"
SHARD_INDEX = f"{RESULTS}/index/{{split}}/{{shard}}.tsv"
TRAIN_INDEX = f"{RESULTS}/index/train.tsv"
TRAIN_SHARD_INDEX = f"{RESULTS}/index/train/{{shard}}.tsv"
CLASSES = f"{RESULTS}/classes.txt"
# Stages that a run reports, and trainings whose losses it draws, by their names in the report.
REPORTED = {"seeds": "seeds", "pseudo_labels": "pseudo-labels", "predictions": "segmentation"}
TRAININGS = {"classifier": "classifier", "irn": "IRN", "segmentation": "segmentation"}
FIGURES = [f"figures/{name}.png" for name in ("panels", "predictions", "seeds", "class_iou", "losses")]
STARTED = time.time()
# A scheduler that is about to end a job sends SIGUSR1 to all its processes. A training answers it; the Snakemake around
# the training must live until it has.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
# GPUs that a job asks for. Where there is none, `auto` asks for none, so that jobs share the processors instead. The
# profile of a cluster asks for them itself, since a login node may lack one.
GPU = int(config["device"].startswith("cuda") or (config["device"] == "auto" and bool(shutil.which("nvidia-smi"))))


wildcard_constraints:
    release="|".join(RELEASES),
    experiment=r"[A-Za-z0-9][A-Za-z0-9_.]*(-seed[0-9]+)?",
    shard=r"[0-9]+-of-[0-9]+",
    split=r"train|val|test",
    seed=r"[0-9]+",


@cache
def resolved(experiment):
    try:
        return resolve(config, SCHEMA, experiment)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def check_weights():
    """Stop if a file of weights is absent: where results are there, Snakemake would go on with them and say nothing."""
    run = resolved(config["experiment"])
    files = {f"{stage}.{key}": run[stage][key] for stage in TRAININGS for key in ("weights", "trained")}
    files["classifier.cdr.weights"] = run["classifier"]["cdr"]["weights"]
    for key, file in files.items():
        if file not in (None, "none", "imagenet", "warm_start") and not Path(file).exists():
            raise WorkflowError(f"{key}: {file} does not exist; mend the path.")


check_weights()


# Experiments in the order in which they own what they share. Snakemake puts those of a --configfile first; an experiment
# that is added there must not take over what the shipped ones have made.
SHIPPED = load_configfile(workflow.source_path("../config/experiments.yaml"))["experiments"]
EXPERIMENTS = [*SHIPPED, *(name for name in config["experiments"] if name not in SHIPPED)]


@cache
def maker(experiment, stage):
    """The experiment in whose folder a stage's artefacts for `experiment` lie: the first with the same settings."""
    return owner(resolved(experiment), stage, EXPERIMENTS, resolved)


def made(experiment, stage, path):
    """`path` in the folder of the experiment that makes a stage's artefacts for `experiment`."""
    return f"{RESULTS}/{maker(experiment, stage)}/{path}"


def artefact(stage, path):
    """Input function: a file of a stage that the job's experiment reads; `{shard}` stands for the job's own shard."""
    return lambda wildcards: made(wildcards.experiment, stage, path.format(**wildcards))


def artefacts(stage, path):
    """Input function: a stage's files of all shards."""
    return lambda wildcards: expand(made(wildcards.experiment, stage, path), shard=SHARDS)


def trained(stage):
    """Input function: the weights of a training stage, which are made only where none are named."""

    def file(wildcards):
        ready = resolved(wildcards.experiment)[stage]["trained"]
        return ready or made(wildcards.experiment, stage, f"{stage}.safetensors")

    return file


def trained_facts(stage):
    """Input function: what is known of ready weights, made only if they fit the data set; nothing where none are named."""

    def file(wildcards):
        ready = resolved(wildcards.experiment)[stage]["trained"]
        return made(wildcards.experiment, stage, f"trained/{stage}.json") if ready else []

    return file


def unless_ready(section, file):
    """Input function: what the input function `file` gives; nothing where `section` names a folder of ready results."""
    return lambda wildcards: [] if resolved(wildcards.experiment)[section]["folder"] else file(wildcards)


def setting(*keys):
    """Params function: the value under `keys` in the configuration of the job's experiment."""

    def value(wildcards):
        found = resolved(wildcards.experiment)
        for key in keys:
            found = found[key]
        return found

    return value


def source(section, module):
    """Params function: digest of the code that makes a stage's results, or takes them over from a folder."""

    def digest(wildcards):
        return source_digest("ssc.stages.ready_files" if resolved(wildcards.experiment)[section]["folder"] else module)

    return digest


def growing(amount):
    """Resource function: `amount` for the first attempt, twice, three times as much for those that follow it.

    Trainings ask for the same time again: they go on where they were.
    """
    return lambda wildcards, attempt: amount * attempt


def run_files(*names):
    """Files of the configured experiment."""
    return [f"{RESULTS}/{config['experiment']}/{name}" for name in names]


def check_run_fits():
    """Stop if the disk has too little room for the configured run; before there is an index, its rule does so."""
    try:
        index = read_index(INDEX)
    except InputError:
        return  # its rule, or the job that reads it, says what is wrong
    try:
        stages = made_stages(resolved(config["experiment"]))
        makers = {stage: maker(config["experiment"], stage) for stage in stages}
        print(check_room(index, resolved(config["experiment"]), RESULTS, makers=makers))
    except InputError as error:
        raise WorkflowError(str(error)) from None


def print_summary():
    """Print the table if the run that has just ended made it."""
    (table,) = run_files("summary.txt")
    if Path(table).exists() and Path(table).stat().st_mtime > STARTED:
        print(f"\n{Path(table).read_text()}")
        print(f"More in {Path(table).parent}/: metrics.tsv, costs.tsv, figures/, manifest.json")
