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
        mem_mb=1000,
        runtime=10,
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
        mem_mb=8000,
        runtime=30,
    params:
        dataset=index_settings(),
        source=source_digest("ssc.data.build"),
    script:
        "../workflow_scripts/index.py"


rule masks:
    input:
        index=INDEX,
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
        mem_mb=6000,
        runtime=60,
    params:
        source=source_digest("ssc.data.masks"),
    script:
        "../workflow_scripts/masks.py"
