# Names and the one provider of configuration values that all rules use.

import shutil
import time
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from ssc.config import complete, load_schema, resolve, warm_start_settings
from ssc.errors import InputError
from ssc.provenance import source_digest

SCHEMA = load_schema(workflow.source_path("../config/schema.yaml"))
try:
    config.update(complete(config, SCHEMA))
except InputError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{config['dataset']['name']}"
RUN = f"{RESULTS}/{{experiment}}"
WEIGHTS = "resources/weights"
SHARDS = [f"{number}-of-{config['shards']}" for number in range(1, config["shards"] + 1)]
INDEX = f"{RESULTS}/index.tsv"
CLASSES = f"{RESULTS}/classes.txt"
FIGURES = [f"figures/{name}.png" for name in ("panels", "predictions", "seeds", "class_iou", "losses")]
STARTED = time.time()
# GPUs that a job asks for. Where there is none, `auto` asks for none, so that jobs share the processors instead. The
# profile of a cluster asks for them itself, since a login node may lack one.
GPU = int(config["device"].startswith("cuda") or (config["device"] == "auto" and bool(shutil.which("nvidia-smi"))))


wildcard_constraints:
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


def setting(*keys):
    """Params function: the value under `keys` in the configuration of the job's experiment."""

    def value(wildcards):
        found = resolved(wildcards.experiment)
        for key in keys:
            found = found[key]
        return found

    return value


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


def confidence_files(wildcards):
    """Input function: confidence masks where the segmentation is trained with them."""
    used = resolved(wildcards.experiment)["segmentation"]["confidence_mask"]
    return expand(f"{RUN}/confidence/{{shard}}.zip", shard=SHARDS, allow_missing=True) if used else []


def prediction_files(wildcards):
    """Input function: the archives of the predicted split."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    return expand(
        f"{RUN}/predictions/{{split}}/{{shard}}.zip", split=split, shard=SHARDS, experiment=wildcards.experiment
    )


def prediction_masks(wildcards):
    """Input function: ground truth of the predicted split."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    return expand(f"{RESULTS}/masks/{{split}}/{{shard}}.zip", split=split, shard=SHARDS)


def index_settings():
    """The data set as the index sees it: the demo's generated scenes are a folder like a user's own."""
    data = config["dataset"]
    if data["kind"] == "demo":
        return {"kind": "folder", "root": f"{RESULTS}/data", "masks": "masks"}
    return data


def listed(root, place, pattern):
    """Existing files of that pattern below a folder of the data set, which may be absent."""
    return [str(file) for file in sorted(Path(root, place).glob(pattern))] if root else []


def data_files():
    """Files of the data set that decide on the index; none that is missing, so that the index can say what is."""
    data = config["dataset"]
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
                file for place in ("VOCdevkit/VOC2012", "VOC2012", ".") for file in listed(data["root"], place, splits)
            ]
            names += [file for place in ("dataset", ".") for file in listed(data["sbd"], place, "*.txt")]
    return [name for name in names if name and Path(name).exists()]


def method_settings(wildcards):
    """Params function: all settings of the experiment but those that no result depends on."""
    beside = {"experiment", "experiments", "report", "workers"}
    return {key: value for key, value in resolved(wildcards.experiment).items() if key not in beside}


def benchmark_files(wildcards):
    """Params function: by stage, the benchmark files of the jobs that the experiment's results come from."""
    shared, own = f"{RESULTS}/benchmarks", f"{RESULTS}/{wildcards.experiment}/benchmarks"
    split = resolved(wildcards.experiment)["prediction"]["split"]
    warm = [Path(file).stem for file in (weight_file("classifier")(wildcards), loss_network_file(wildcards)) if file]

    def jobs(folder, rule):
        return [f"{folder}/{rule}/{shard}.tsv" for shard in SHARDS]

    return {
        "data": [
            f"{shared}/demo_data.tsv",
            f"{shared}/index.tsv",
            *(job for name in sorted({"train", split}) for job in jobs(shared, f"masks/{name}")),
        ],
        "superpixels": jobs(shared, "superpixels") if superpixel_files(wildcards) else [],
        "warm start": [f"{shared}/warm_start/{name}.tsv" for name in sorted(set(warm))],
        "classifier": [f"{own}/train_classifier.tsv"],
        "seeds": [*jobs(own, "cams"), *jobs(own, "count_seeds"), f"{own}/evaluate_seeds.tsv"],
        "IRN labels": jobs(own, "irn_labels"),
        "IRN": [f"{own}/train_irn.tsv"],
        "pseudo-labels": [*jobs(own, "random_walk"), f"{own}/evaluate_pseudo_labels.tsv"],
        "segmentation": [
            f"{own}/train_segmentation.tsv",
            *jobs(own, f"predictions/{split}"),
            f"{own}/evaluate_predictions.tsv",
        ],
    }


def run_files(*names):
    """Files of the configured experiment."""
    return [f"{RESULTS}/{config['experiment']}/{name}" for name in names]


def print_summary():
    """Print the table if the run that has just ended made it."""
    (table,) = run_files("summary.txt")
    if Path(table).exists() and Path(table).stat().st_mtime > STARTED:
        print(f"\n{Path(table).read_text()}\nMore in {Path(table).parent}/: metrics.tsv, figures/, manifest.json")
