# Superpixels, shared by all experiments: made here, or read from the folder that `ready.superpixels` names.

if config["ready"]["superpixels"]:

    rule superpixels:
        input:
            index=TRAIN_SHARD_INDEX,
            classes=CLASSES,
        output:
            **outputs("superpixels"),
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
            folder=config["ready"]["superpixels"],
            files=files_state(Path(config["ready"]["superpixels"])),
            source=source_digest("ssc.stages.ready_files"),
        script:
            "../workflow_scripts/ready_superpixels.py"

else:

    rule superpixels:
        input:
            index=TRAIN_SHARD_INDEX,
            classes=CLASSES,
        output:
            **outputs("superpixels"),
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
            source=source_digest("ssc.stages.superpixels"),
        script:
            "../workflow_scripts/superpixels.py"
