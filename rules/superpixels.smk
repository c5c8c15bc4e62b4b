# Superpixels, shared by all experiments.


rule superpixels:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
    output:
        f"{RESULTS}/superpixels/{{shard}}.zip",
    log:
        f"{RESULTS}/logs/superpixels/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/superpixels/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        settings=config["superpixels"],
        source=source_digest("ssc.stages.ready_files" if config["superpixels"]["folder"] else "ssc.superpixels"),
    script:
        "../workflow_scripts/superpixels.py"
