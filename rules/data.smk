# The data set: index of all images, ground-truth masks for evaluation.


def index_settings():
    """The data set as the index sees it: the demo's generated scenes are a folder like a user's own."""
    data = config["dataset"]
    if data["kind"] == "demo":
        return {"kind": "folder", "root": str(rules.demo_data.output.folder), "masks": "masks"}
    return located(resolved(config["experiment"]).dataset.decisive())


def data_files():
    """What decides on the index: folders to download, and files of the user's own folders.

    None of those files is missing, so that the index can say what is.
    """
    data = {key: None if value == "download" else value for key, value in config["dataset"].items()}

    def listed(root, place, pattern):
        return [str(file) for file in sorted(Path(root, place).glob(pattern))] if root else []

    match data["kind"]:
        case "demo":
            return rules.demo_data.output.folder
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


rule demo_data:
    output:
        folder=directory(outputs("demo_data")["folder"]),
    log:
        f"{RESULTS}/logs/demo_data.log",
    benchmark:
        f"{RESULTS}/benchmarks/demo_data.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings={key: config["dataset"].get(key) for key in ("train", "val", "size", "seed")},
        source=source_digest("ssc.data.demo"),
    script:
        "../workflow_scripts/demo_data.py"


rule index:
    input:
        data_files(),
    output:
        expand(SPLIT_INDEX, split=SPLITS),
        expand(SHARD_INDEX, split=SPLITS, shard=SHARDS),
        **outputs("index"),
    log:
        f"{RESULTS}/logs/index.log",
    benchmark:
        f"{RESULTS}/benchmarks/index.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        dataset=index_settings(),
        source=[source_digest("ssc.data.build"), source_digest("ssc.data.check")],
    script:
        "../workflow_scripts/index.py"


rule masks:
    input:
        index=SHARD_INDEX,
        classes=CLASSES,
    output:
        **outputs("masks"),
    log:
        f"{RESULTS}/logs/masks/{{split}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/masks/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        source=source_digest("ssc.stages.masks"),
    script:
        "../workflow_scripts/masks.py"
