# Input functions of the stages: what the data set and an experiment's settings decide on.


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


def confidence_files(wildcards):
    """Input function: confidence masks where the segmentation is trained with them."""
    segmentation = resolved(wildcards.experiment)["segmentation"]
    used = segmentation["confidence_mask"] or segmentation["training"] == "cotraining"
    return artefacts("pseudo_labels", "confidence/{shard}.zip")(wildcards) if used else []


def prediction_files(wildcards):
    """Input function: the archives of the predicted split."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    return artefacts("predictions", f"predictions/{split}/{{shard}}.zip")(wildcards)


def prediction_count_files(wildcards):
    """Input function: the counts of the predicted split."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    return artefacts("predictions", f"prediction_counts/{split}/{{shard}}.json")(wildcards)


def prediction_steps(wildcards):
    """Params function: names of the test-time steps."""
    return step_names(resolved(wildcards.experiment)["prediction"])


def predicted_index(wildcards):
    """Input function: the table of the predicted split."""
    return SPLIT_INDEX.format(split=resolved(wildcards.experiment)["prediction"]["split"])


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
