# IRN: confident labels by dense CRF, then the class-boundary network.


rule irn_labels:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        cams=artefact("cams", "cams/{shard}.zip"),
    output:
        f"{RUN}/irn_labels/{{shard}}.zip",
    log:
        f"{RUN}/logs/irn_labels/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/irn_labels/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        settings=setting("irn_labels"),
        source=source_digest("ssc.stages.irn_labels"),
    script:
        "../workflow_scripts/irn_labels.py"


rule train_irn:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        labels=artefacts("irn_labels", "irn_labels/{shard}.zip"),
        initial=weight_file("irn"),
    output:
        weights=f"{RUN}/irn.safetensors",
        history=f"{RUN}/irn_losses.json",
    log:
        f"{RUN}/logs/train_irn.log",
    benchmark:
        f"{RUN}/benchmarks/train_irn.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 8
    resources:
        mem_mb=growing(24000),
        runtime=1440,
        gpu=GPU,
    params:
        settings=setting("irn"),
        seed=setting("seed"),
        precision=setting("precision"),
        threads=setting("threads"),
        source=source_digest("ssc.training.irn"),
    script:
        "../workflow_scripts/train_irn.py"
