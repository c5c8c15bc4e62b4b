# Names and the one provider of configuration values that all rules use.

import shutil
import time
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError

from ssc.config import complete, load_schema, resolve, warm_start_settings
from ssc.data.releases import FOLDER, RELEASES, located, release_folders
from ssc.errors import InputError
from ssc.experiments import made_stages, owner, reported_stages, sweep_experiments, sweep_name, with_seed
from ssc.paper import ABLATION as ABLATION_ROWS
from ssc.provenance import source_digest
from ssc.steps import step_names

SCHEMA = load_schema(workflow.source_path("../config/schema.yaml"))
try:
    config.update(complete(config, SCHEMA))
except InputError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{config['dataset']['name']}"
RUN = f"{RESULTS}/{{experiment}}"
ABLATION = f"{RESULTS}/ablation"
WEIGHTS = "resources/weights"
ARCHIVES = "resources/archives"
SHARDS = [f"{number}-of-{config['shards']}" for number in range(1, config["shards"] + 1)]
INDEX = f"{RESULTS}/index.tsv"
CLASSES = f"{RESULTS}/classes.txt"
# Stages that a run reports, and trainings whose losses it draws, by their names in the report.
REPORTED = {"seeds": "seeds", "pseudo_labels": "pseudo-labels", "predictions": "segmentation"}
TRAININGS = {"classifier": "classifier", "irn": "IRN", "segmentation": "segmentation"}
FIGURES = [f"figures/{name}.png" for name in ("panels", "predictions", "seeds", "class_iou", "losses")]
STARTED = time.time()
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


def stages_of(wildcards):
    """The stages that the run of the job's experiment makes."""
    return made_stages(resolved(wildcards.experiment))


def if_made(stage, file):
    """Input function: what the input function `file` gives; nothing where the run does not make that stage."""
    return lambda wildcards: file(wildcards) if stage in stages_of(wildcards) else []


def stage_figures(wildcards):
    """Params function: by name in the report, the JSON files of the stages that the run reports."""
    reported = reported_stages(resolved(wildcards.experiment))
    files = {stage: f"{name.replace('-', '_')}.json" for stage, name in REPORTED.items()}
    return {REPORTED[stage]: made(wildcards.experiment, stage, files[stage]) for stage in reported}


def loss_histories(wildcards):
    """Params function: by name in the report, the loss histories of the trainings of the run."""
    done = [stage for stage in TRAININGS if stage in stages_of(wildcards)]
    return {TRAININGS[stage]: made(wildcards.experiment, stage, f"{stage}_losses.json") for stage in done}


def file_list(named):
    """Input function: the files that the params function `named` names."""
    return lambda wildcards: list(named(wildcards).values())


def network_names(wildcards):
    """Params function: backbones of the classifier and of the segmentation network; none where CAMs were ready."""
    run = resolved(wildcards.experiment)
    own_cams = "cams" in stages_of(wildcards) and not run["cams"]["folder"]
    return {stage: run[stage]["backbone"] for stage in (*(["classifier"] if own_cams else []), "segmentation")}


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
        return source_digest("ssc.intermediate" if resolved(wildcards.experiment)[section]["folder"] else module)

    return digest


def weight_file(section, *keys):
    """Input function: the file that `<section>.weights` stands for; nothing for `none`."""

    def file(wildcards):
        run = resolved(wildcards.experiment)
        part = run[section]
        for key in keys:
            part = part[key]
        match part["weights"]:
            case "none":
                return []
            case "imagenet":
                return f"{WEIGHTS}/{part.get('backbone') or part['network']}.safetensors"
            case "warm_start":
                own = run["classifier"]
                return (
                    f"{RESULTS}/warm_start/{own['backbone']}-stride{own['output_stride']}-seed{run['seed']}.safetensors"
                )
            case path:
                return path

    return file


def loss_network_file(wildcards):
    """Input function: weights of the perceptual loss's network, where there is one."""
    cdr = resolved(wildcards.experiment)["classifier"]["cdr"]
    used = cdr["enabled"] and cdr["loss"] == "perceptual"
    return weight_file("classifier", "cdr")(wildcards) if used else []


def superpixel_files(wildcards):
    """Input function: superpixels of the training set where the experiment uses them."""
    used = resolved(wildcards.experiment)["classifier"]["asm"]["enabled"]
    return expand(f"{RESULTS}/superpixels/{{shard}}.zip", shard=SHARDS) if used else []


def refines_cams(wildcards):
    """Whether CAMs are averaged over superpixels."""
    cams = resolved(wildcards.experiment)["cams"]
    return cams["refine"] == "superpixels" and not cams["folder"]


def refining_superpixels(wildcards):
    """Input function: superpixels of the shard where CAMs are averaged over them."""
    return f"{RESULTS}/superpixels/{wildcards.shard}.zip" if refines_cams(wildcards) else []


def panel_superpixels(wildcards):
    """Input function: superpixels where a stage of the run uses them."""
    trained_on = if_made("classifier", superpixel_files)(wildcards)
    refining = "cams" in stages_of(wildcards) and refines_cams(wildcards)
    return expand(f"{RESULTS}/superpixels/{{shard}}.zip", shard=SHARDS) if trained_on or refining else []


def train_masks(wildcards):
    """Input function: ground truth of the training photos where the run measures anything on them."""
    measured = {"seeds", "pseudo_labels"} & set(stages_of(wildcards))
    return expand(f"{RESULTS}/masks/train/{{shard}}.zip", shard=SHARDS) if measured else []


def confidence_files(wildcards):
    """Input function: confidence masks where the segmentation is trained with them."""
    segmentation = resolved(wildcards.experiment)["segmentation"]
    used = segmentation["confidence_mask"] or segmentation["training"] == "cotraining"
    return artefacts("pseudo_labels", "confidence/{shard}.zip")(wildcards) if used else []


def prediction_files(wildcards):
    """Input function: the archives of the predicted split."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    return artefacts("predictions", f"predictions/{split}/{{shard}}.zip")(wildcards)


def prediction_step_files(wildcards):
    """Input function: the archives of the test-time steps before the last."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    return artefacts("predictions", f"prediction_steps/{split}/{{shard}}.zip")(wildcards)


def prediction_steps(wildcards):
    """Params function: names of the test-time steps."""
    return step_names(resolved(wildcards.experiment)["prediction"])


def prediction_masks(wildcards):
    """Input function: ground truth of the predicted split."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    return expand(f"{RESULTS}/masks/{{split}}/{{shard}}.zip", split=split, shard=SHARDS)


def index_settings():
    """The data set as the index sees it: the demo's generated scenes are a folder like a user's own."""
    data = config["dataset"]
    if data["kind"] == "demo":
        return {"kind": "folder", "root": f"{RESULTS}/data", "masks": "masks"}
    return located(data)


def listed(root, place, pattern):
    """Existing files of that pattern below a folder of the data set, which may be absent."""
    return [str(file) for file in sorted(Path(root, place).glob(pattern))] if root else []


def data_files():
    """What decides on the index: folders to download, and files of the user's own folders.

    None of those files is missing, so that the index can say what is.
    """
    data = {key: None if value == "download" else value for key, value in config["dataset"].items()}
    match data["kind"]:
        case "demo":
            return [f"{RESULTS}/data"]
        case "coco":
            names = [data["train_instances"], data["val_instances"]]
        case "folder":
            names = [f"{data['root']}/{name}" for name in (data["labels"], data["classes"] or "classes.txt")]
        case "voc":
            splits = "ImageSets/Segmentation/*.txt"
            names = [
                file
                for root in (data["root"], data["test_root"])
                for place in ("VOCdevkit/VOC2012", "VOC2012", ".")
                for file in listed(root, place, splits)
            ]
            names += [file for place in ("dataset", ".") for file in listed(data["sbd"], place, "*.txt")]
    return release_folders(config["dataset"]) + [name for name in names if name and Path(name).exists()]


def method_settings(wildcards):
    """Params function: all settings of the experiment but those that no result depends on."""
    beside = {"experiment", "experiments", "report", "workers"}
    return {key: value for key, value in resolved(wildcards.experiment).items() if key not in beside}


def benchmark_files(wildcards):
    """Params function: by stage, the benchmark files of the jobs that the run's results come from."""
    shared = f"{RESULTS}/benchmarks"
    split = resolved(wildcards.experiment)["prediction"]["split"]
    stages = stages_of(wildcards)
    splits = sorted({*(["train"] if train_masks(wildcards) else []), split})
    starts = [weight_file(stage)(wildcards) for stage in TRAININGS if stage in stages]
    starts.append(if_made("classifier", loss_network_file)(wildcards))

    def jobs(rule):
        return [f"{rule}/{shard}" for shard in SHARDS]

    def own(stage, *names):
        folder = made(wildcards.experiment, stage, "benchmarks")
        return [f"{folder}/{name}.tsv" for name in names] if stage in stages else []

    return {
        "data": [
            f"{shared}/demo_data.tsv",
            f"{shared}/index.tsv",
            *(f"{shared}/{job}.tsv" for name in splits for job in jobs(f"masks/{name}")),
        ],
        "superpixels": [f"{shared}/{job}.tsv" for job in jobs("superpixels") if panel_superpixels(wildcards)],
        "warm start": sorted({f"{shared}/warm_start/{Path(file).stem}.tsv" for file in starts if file}),
        "classifier": own("classifier", "train_classifier"),
        "seeds": own("cams", *jobs("cams")) + own("seeds", *jobs("count_seeds"), "evaluate_seeds"),
        "IRN labels": own("irn_labels", *jobs("irn_labels")),
        "IRN": own("irn", "train_irn"),
        "pseudo-labels": own("pseudo_labels", *jobs("random_walk"), "evaluate_pseudo_labels"),
        "segmentation": [
            *own("segmentation", "train_segmentation"),
            *own("predictions", *jobs(f"predictions/{split}"), "evaluate_predictions"),
        ],
    }


def seed_files(experiment):
    """The figures of an experiment's seeds, one file per random seed."""
    return [made(with_seed(experiment, seed, resolved), "seeds", "seeds.json") for seed in config["ablation"]["seeds"]]


def ablation_experiments():
    """Experiments of the table: those asked for, or, in the paper's order, all declared ones that differ in seeds."""
    swept = sweep_experiments(config["ablation"]["sweeps"])
    declared = [name for name in EXPERIMENTS if name not in swept and maker(name, "seeds") == name]
    of_the_paper = [name for name in ABLATION_ROWS if name in declared]
    return config["ablation"]["experiments"] or [
        *of_the_paper,
        *(name for name in declared if name not in ABLATION_ROWS),
    ]


def table_files():
    """Params: seed figures by experiment of the table."""
    return {name: seed_files(name) for name in ablation_experiments()}


def first_run(experiment):
    """The run of an experiment of the table whose pictures are shown: that of the first random seed."""
    return with_seed(experiment, config["ablation"]["seeds"][0], resolved)


def ranking_experiment():
    """The run by whose seeds the photos of the ablation's sheets are chosen: of `ssc`, or of the table's last row."""
    names = ablation_experiments()
    return first_run("ssc" if "ssc" in names else names[-1])


def cam_archives(experiment):
    """A run's archives of CAMs."""
    return expand(made(experiment, "cams", "cams/{shard}.zip"), shard=SHARDS)


def cam_files():
    """Params: archives of CAMs by experiment of the table."""
    return {name: cam_archives(first_run(name)) for name in ablation_experiments()}


def classifier_files():
    """Params: weights of the classifiers by experiment of the table, of those that may have a decoder."""
    files = {}
    for name in ablation_experiments():
        run = resolved(first_run(name))
        ready = run["classifier"]["trained"]
        if not run["cams"]["folder"] and (ready or run["classifier"]["cdr"]["enabled"]):
            files[name] = ready or made(first_run(name), "classifier", "classifier.safetensors")
    return files


def sweep_files():
    """Params: seed figures by sweep and value."""
    sweeps = config["ablation"]["sweeps"]
    return {
        name: {value: seed_files(sweep_name(name, value)) for value in sweep["values"]}
        for name, sweep in sweeps.items()
    }


def run_files(*names):
    """Files of the configured experiment."""
    return [f"{RESULTS}/{config['experiment']}/{name}" for name in names]


def print_summary():
    """Print the table if the run that has just ended made it."""
    (table,) = run_files("summary.txt")
    if Path(table).exists() and Path(table).stat().st_mtime > STARTED:
        print(f"\n{Path(table).read_text()}\nMore in {Path(table).parent}/: metrics.tsv, figures/, manifest.json")
