# Names, and the one provider of settings that all rules use.

import os
import re
import shutil
import signal
import time
from collections import Counter
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import SharedFSUsage
from snakemake.utils import update_config

from ssc.data.index import SPLITS, read_index
from ssc.data.build import deciding_files, files_state, folder_state
from ssc.data.releases import FOLDER, RELEASES, located
from ssc.runtime.errors import InputError
from ssc.runtime.progress import told_time
from ssc.stages.download_weights import check_downloads
from ssc.stages.index import check_asked
from ssc.workflow import experiments
from ssc.workflow.config import complete, refuse_repeats, resolve
from ssc.workflow.disk import check_room
from ssc.workflow.job import check_file
from ssc.workflow.last_run import expected_seconds
from ssc.workflow.network_sizes import check_networks
from ssc.workflow.places import check_seen_everywhere
from ssc.workflow.provenance import source_digest
from ssc.workflow.shards import count_shards
from ssc.workflow.settings import Settings, warm_start_settings
from ssc.workflow.stage_table import RULES, STAGES, TRAININGS, stage_of

# The configuration is laid over the paper's ablations, which are known on every data set, and, where it names no kind of
# data set of its own, over the demo's. Not by `configfile`, which a module's configuration would put out of force.
below = [workflow.source_path("../config/experiments.yaml")]
if "kind" not in (config.get("dataset") or {}):
    below.append(workflow.source_path("../config.yaml"))
try:
    whole = {}
    for file in (*below, *workflow.configfiles):
        refuse_repeats(file)
    for layer in (*map(load_configfile, below), config):
        update_config(whole, layer)
    config.update(complete(whole))
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
if config["shards"] == "auto":
    config["shards"] = count_shards(config["dataset"], Path(RESULTS))
SHARDS = [f"{number}-of-{config['shards']}" for number in range(1, config["shards"] + 1)]
# The index, and its tables of the splits and of their shards: a rule reads the smallest that it can do with, so that a
# new image changes what it touches alone.
INDEX = f"{RESULTS}/index.tsv"
SPLIT_INDEX = f"{RESULTS}/index/{{split}}.tsv"
SHARD_INDEX = f"{RESULTS}/index/{{split}}/{{shard}}.tsv"
TRAIN_INDEX = f"{RESULTS}/index/train.tsv"
TRAIN_SHARD_INDEX = f"{RESULTS}/index/train/{{shard}}.tsv"
CLASSES = f"{RESULTS}/classes.txt"
STARTED = time.time()
# A scheduler that is about to end a job sends SIGUSR1 to all its processes. A training answers it; the Snakemake around
# the training must live until it has.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
# GPUs that a job asks for. Where there is none, `auto` asks for none, so that jobs share the processors instead. The
# profile of a cluster asks for them itself, since a login node may lack one.
GPU = int(config["device"].startswith("cuda") or (config["device"] == "auto" and bool(shutil.which("nvidia-smi"))))


@cache
def resolved(experiment):
    """The settings of an experiment."""
    try:
        return resolve(config, experiment)
    except InputError as error:
        raise WorkflowError(str(error)) from None


# Where results are there, Snakemake would go on with them and not ask for the file.
if missing := experiments.missing_weights(resolved(config["experiment"])):
    raise WorkflowError(f"{missing[0]}: {missing[1]} does not exist; correct the path.")

# Experiments in the order in which they own what they share: the shipped ones before others, which must not take over what
# they have made.
EXPERIMENTS = [*config["experiments"]]


def corrected_state(settings):
    """What tells that a mended mask was changed, where an experiment has any."""
    folder = settings.pseudo_labels.corrected
    return files_state(Path(folder)) if folder else None


def experiments_that(hold):
    """Wildcard constraint: experiments whose settings `hold` is true of."""
    names = [re.escape(name) for name in EXPERIMENTS if hold(resolved(name))]
    return f"(?:{'|'.join(names)})(?:-seed[0-9]+)?" if names else "(?!)"


wildcard_constraints:
    release="|".join(RELEASES),
    experiment=r"[A-Za-z0-9][A-Za-z0-9_.]*(-seed[0-9]+)?",
    shard=r"[0-9]+-of-[0-9]+",
    split=r"train|val|test",
    seed=r"[0-9]+",
    stage="|".join(TRAININGS),


def outputs(rule):
    """Output files of a rule of the stage table, by name."""
    folder = RESULTS if stage_of(rule).shared else RUN
    return {name: f"{folder}/{path}" for name, path in RULES[rule].outputs.items()}


def as_read(files):
    """Paths in params, alone or in lists and dictionaries, as the job reads them: in object storage, of the copies.

    Snakemake itself does so for inputs and outputs, by the means that is used here.
    """
    if isinstance(files, dict):
        return {name: as_read(inner) for name, inner in files.items()}
    if isinstance(files, list):
        return [as_read(inner) for inner in files]
    return str(workflow.modifier.path_modifier.apply_default_storage(files))


# What stands before the path of a copy; nothing where files are read in place.
COPIES = as_read("x")[:-1]


def named_path(path):
    """A file's path in the working folder, of that by which Snakemake knows an output: in object storage, its copy's."""
    return path.removeprefix(COPIES)


def shards(path):
    """`path` for all shards."""
    return expand(named_path(path), shard=SHARDS, allow_missing=True)


@cache
def owner(experiment, stage):
    """The experiment in whose folder a stage's results for `experiment` lie: the first with the same settings."""
    return experiments.owner(resolved(experiment), stage, EXPERIMENTS, resolved)


def owned(stage, paths):
    """Input function: a stage's files in the folder of the experiment that makes them for the job's experiment.

    `{split}` is the job's own, or that which the experiment predicts.
    """

    def files(wildcards):
        split = resolved(wildcards.experiment).prediction.split
        own = {"split": split, **wildcards, "experiment": owner(wildcards.experiment, stage)}
        found = [named_path(path).format(**own) for path in ([paths] if isinstance(paths, str) else paths)]
        return found[0] if isinstance(paths, str) else found

    return files


def weights(stage):
    """Input function: the weights of a training: ready ones where any are named."""
    trained = owned(stage, f"{RUN}/{stage}.safetensors")
    return lambda w: experiments.ready(resolved(w.experiment), stage) or trained(w)


def cam_threshold(section):
    """Input function: the threshold of a run's CAMs, where one in a section of its settings is `auto`."""
    own = owned("cam_threshold", f"{RUN}/{RULES['cam_threshold'].outputs['threshold']}")
    return lambda w: own(w) if getattr(resolved(w.experiment), section).has_auto() else []


def checked(stage):
    """Input function: what is known of ready weights, made only if they fit the data set; nothing where none are named."""
    facts = owned(stage, f"{RUN}/ready/{stage}.json")
    return lambda w: facts(w) if experiments.ready(resolved(w.experiment), stage) else []


def start(word, network, stride, run):
    """The file that a `weights` key stands for; nothing for `none`.

    Args:
        word: its value.
        network: name of the network that it is for.
        stride: output stride of that network; a warm start of the classifier's backbone has the classifier's.
        run: settings of the experiment.
    """
    match word:
        case "none":
            return []
        case "imagenet":
            return f"{WEIGHTS}/{network}.safetensors"
        case "imagenet_v2":
            return f"{WEIGHTS}/{network}_v2.safetensors"
        case "warm_start":
            own = run.classifier
            stride = own.output_stride if network == own.backbone else stride
            return outputs("warm_start")["weights"].format(backbone=network, stride=stride, seed=run.seed)
        case path:
            return path


def start_weights(stage):
    """Input function: the weights that a training starts from."""

    def file(wildcards):
        run = resolved(wildcards.experiment)
        own = getattr(run, stage)
        return start(own.weights, own.backbone, own.output_stride, run)

    return file


def warm_start(wildcards):
    """Settings of the warm start of a backbone: the configuration's own, whatever an experiment lays over them, since
    all experiments share it."""
    return warm_start_settings(Settings(**config), backbone=wildcards.backbone, output_stride=int(wildcards.stride))


def loss_network(wildcards):
    """Input function: weights of the perceptual loss's network, where there is one."""
    run = resolved(wildcards.experiment)
    own = run.classifier.cdr
    return start(own.weights, own.network, 16, run) if experiments.uses_loss_network(run) else []


def check_starts(jobs):
    """Try what trainings among the jobs would fail for when their turn comes: the device, and weights of the user's.

    Raises:
        InputError: there is no such device, or a weight file is unusable.
    """
    stages = {f"train_{stage}": stage for stage in TRAININGS} | {"cross_validate": "classifier"}
    jobs = [job for job in jobs if job.rule.name in stages]
    if jobs and workflow.local_exec and config["device"].startswith("cuda"):
        from ssc.runtime.device import select_device  # with torch, which the reading of the workflow can spare

        select_device(config["device"])
    starts = {}
    for job in jobs:
        stage, run = stages[job.rule.name], resolved(job.wildcards.experiment)
        own, cdr = getattr(run, stage), run.classifier.cdr
        starts[job.input.get("initial") or None, own.backbone, own.output_stride] = f"{stage}.weights"
        starts[job.input.get("loss_weights") or None, cdr.network, None] = "classifier.cdr.weights"
    for (file, network, stride), key in starts.items():
        if file and Path(file).exists() and not named_path(file).startswith(f"{RESULTS}/"):
            from ssc.stages.check_weights import check_start  # likewise

            check_start(file, key=key, network=network, output_stride=stride)


def selects(wildcards):
    """Whether validation masks select the epoch of the segmentation's training."""
    return experiments.selects_on_val(resolved(wildcards.experiment))


def code(module, *sections):
    """Params function: digest of the code that can change a module's numbers with these sections of the settings."""

    def digest(wildcards):
        run = resolved(wildcards.experiment)
        return source_digest(module, *(getattr(run, section) for section in sections))

    return digest


def growing(amount):
    """Resource function: `amount` for the first attempt, twice, three times as much for those that follow it.

    Trainings ask for the same time again: they go on where they were.
    """
    return lambda wildcards, attempt: amount * attempt


def run_files(*names):
    """Files of the configured experiment."""
    return [f"{RESULTS}/{config['experiment']}/{name}" for name in names]
