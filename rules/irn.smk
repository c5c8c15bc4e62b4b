# IRN: confident labels by dense CRF, then the class-boundary network.


rule irn_labels:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        cams=owned("cams", rules.cams.output.archive),
        cam_threshold=cam_threshold("irn_labels"),
    output:
        **outputs("irn_labels"),
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
        settings=lambda w: resolved(w.experiment).irn_labels.decisive(),
        source=source_digest("ssc.stages.irn_labels"),
    script:
        "../workflow_scripts/irn_labels.py"


rule train_irn:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        labels=owned("irn_labels", shards(rules.irn_labels.output.archive)),
        initial=start_weights("irn"),
    output:
        **outputs("train_irn"),
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
        settings=lambda w: resolved(w.experiment).irn.decisive(),
        seed=lambda w: resolved(w.experiment).seed,
        precision=config["precision"],
        threads=config["threads"],
        source=code("ssc.training.irn", "irn"),
    script:
        "../workflow_scripts/train_irn.py"
