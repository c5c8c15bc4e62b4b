# Pseudo-labels: random walk of the CAMs over the class-boundary map, or labels of the CAMs alone.


rule random_walk:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        cams=owned("cams", rules.cams.output.archive),
        cam_threshold=cam_threshold("pseudo_labels"),
        weights=weights("irn"),
        checked=checked("irn"),
    output:
        **outputs("random_walk"),
    log:
        f"{RUN}/logs/random_walk/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/random_walk/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 4 if GPU else 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=GPU,
    params:
        settings=lambda w: resolved(w.experiment).pseudo_labels.decisive(),
        corrected=lambda w: corrected_state(resolved(w.experiment)),
        precision=config["precision"],
        source=code("ssc.stages.pseudo_labels", "pseudo_labels", "irn"),
    script:
        "../workflow_scripts/random_walk.py"


rule cam_labels:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        cams=owned("cams", rules.cams.output.archive),
        cam_threshold=cam_threshold("pseudo_labels"),
    output:
        **outputs("random_walk"),
    log:
        f"{RUN}/logs/random_walk/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/random_walk/{{shard}}.tsv"
    wildcard_constraints:
        experiment=experiments_that(lambda run: run.pseudo_labels.method != "irn"),
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        settings=lambda w: resolved(w.experiment).pseudo_labels.decisive(),
        corrected=lambda w: corrected_state(resolved(w.experiment)),
        source=source_digest("ssc.stages.cam_labels"),
    script:
        "../workflow_scripts/cam_labels.py"


rule count_pseudo_labels:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        labels=rules.random_walk.output.labels,
        masks=named_path(rules.masks.output.archive).replace("{split}", "train"),
    output:
        **outputs("count_pseudo_labels"),
    log:
        f"{RUN}/logs/count_pseudo_labels/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/count_pseudo_labels/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        split="train",
        stage="pseudo-labels",
        source=source_digest("ssc.stages.evaluate"),
    script:
        "../workflow_scripts/count_labels.py"


rule evaluate_pseudo_labels:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        shards=shards(rules.count_pseudo_labels.output.counts),
    output:
        **outputs("evaluate_pseudo_labels"),
    log:
        f"{RUN}/logs/evaluate_pseudo_labels.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_pseudo_labels.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        split="train",
        stage="pseudo-labels",
        source=source_digest("ssc.stages.evaluate"),
    script:
        "../workflow_scripts/evaluate_labels.py"
