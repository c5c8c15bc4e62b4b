# The data set: index of all images, ground-truth masks for evaluation.

# As the index sees it: the demo's generated scenes are a folder like a user's own.
DATASET = located(resolved(config["experiment"]).dataset.decisive())
if DATASET["kind"] == "demo":
    DATASET = {"kind": "folder", "root": outputs("demo_data")["folder"], "masks": "masks"}


# What is `local` lies, even where results go to object storage, on the machine where Snakemake runs, and so does the job
# that reads or writes it: photos, which the index names by path, and the tables that come with them.
rule demo_data:
    output:
        folder=local(directory(outputs("demo_data")["folder"])),
    log:
        f"{RESULTS}/logs/demo_data.log",
    benchmark:
        f"{RESULTS}/benchmarks/demo_data.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 4
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
        local(
            outputs("demo_data")["folder"]
            if config["dataset"]["kind"] == "demo"
            else deciding_files(config["dataset"])
        ),
    output:
        expand(SPLIT_INDEX, split=SPLITS),
        expand(SHARD_INDEX, split=SPLITS, shard=SHARDS),
        **outputs("index"),
        **({"photos": local(directory(f"{RESULTS}/photos"))} if config["dataset"].get("max_side") else {}),
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
        dataset=DATASET,
        photos=lambda w: folder_state(config["dataset"], "images"),
        truth=lambda w: folder_state(config["dataset"], "masks"),
        source=[
            source_digest("ssc.data.build"),
            source_digest("ssc.data.index"),
            source_digest("ssc.data.check"),
            source_digest("ssc.data.check_masks"),
            source_digest("ssc.data.shrink"),
        ],
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
        settings=config["masks"] if config["dataset"]["kind"] == "coco" else {},
        truth=lambda w: folder_state(config["dataset"], "masks"),
        source=source_digest("ssc.stages.masks"),
    script:
        "../workflow_scripts/masks.py"
