# Class activation maps and the seeds that a threshold makes of them.


rule cams:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        weights=weights("classifier"),
        checked=checked("classifier"),
        superpixels=lambda w: (
            named_path(rules.superpixels.output.archive).format(shard=w.shard)
            if experiments.refines_cams(resolved(w.experiment))
            else []
        ),
    output:
        **outputs("cams"),
    log:
        f"{RUN}/logs/cams/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/cams/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 4 if GPU else 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=GPU,
    params:
        settings=lambda w: resolved(w.experiment).cams.decisive(),
        precision=config["precision"],
        source=code("ssc.stages.cams", "cams", "classifier"),
    script:
        "../workflow_scripts/cams.py"


rule cam_threshold:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        cams=owned("cams", shards(rules.cams.output.archive)),
    output:
        **outputs("cam_threshold"),
    log:
        f"{RUN}/logs/cam_threshold.log",
    benchmark:
        f"{RUN}/benchmarks/cam_threshold.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        source=source_digest("ssc.stages.cam_threshold"),
    script:
        "../workflow_scripts/cam_threshold.py"


rule count_seeds:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        cams=owned("cams", rules.cams.output.archive),
        cam_threshold=cam_threshold("seeds"),
        masks=named_path(rules.masks.output.archive).replace("{split}", "train"),
    output:
        **outputs("count_seeds"),
    log:
        f"{RUN}/logs/count_seeds/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/count_seeds/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=lambda w: resolved(w.experiment).seeds.decisive(),
        source=source_digest("ssc.stages.seeds"),
    script:
        "../workflow_scripts/count_seeds.py"


rule evaluate_seeds:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        shards=shards(rules.count_seeds.output.counts),
    output:
        **outputs("evaluate_seeds"),
    log:
        f"{RUN}/logs/evaluate_seeds.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_seeds.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        source=source_digest("ssc.stages.seeds"),
    script:
        "../workflow_scripts/evaluate_seeds.py"
