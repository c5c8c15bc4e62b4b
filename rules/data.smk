# The data set: index of all images, ground-truth masks for evaluation.


rule demo_data:
    output:
        directory(f"{RESULTS}/data"),
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
        train=config["dataset"]["train"],
        val=config["dataset"]["val"],
        size=config["dataset"]["size"],
        seed=config["dataset"]["seed"],
        source=source_digest("ssc.data.demo"),
    script:
        "../workflow_scripts/demo_data.py"


rule index:
    input:
        data_files(),
    output:
        expand(SPLIT_INDEX, split=SPLITS),
        expand(SHARD_INDEX, split=SPLITS, shard=SHARDS),
        index=INDEX,
        classes=CLASSES,
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
        f"{RESULTS}/masks/{{split}}/{{shard}}.zip",
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
        source=source_digest("ssc.data.masks"),
    script:
        "../workflow_scripts/masks.py"
