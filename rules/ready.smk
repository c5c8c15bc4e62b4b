# Results of others that stand for a stage (`ready` in the configuration), in place of the rule that makes it.


rule ready_cams:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
    output:
        **outputs("cams"),
    log:
        f"{RUN}/logs/cams/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/cams/{{shard}}.tsv"
    wildcard_constraints:
        experiment=experiments_that(lambda run: run.ready.cams),
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        folder=lambda w: resolved(w.experiment).ready.cams,
        files=lambda w: files_state(Path(resolved(w.experiment).ready.cams)),
        settings=lambda w: experiments.ready_form(resolved(w.experiment)),
        source=source_digest("ssc.stages.ready_files"),
    script:
        "../workflow_scripts/ready_cams.py"


rule ready_pseudo_labels:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
    output:
        **outputs("random_walk"),
    log:
        f"{RUN}/logs/random_walk/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/random_walk/{{shard}}.tsv"
    wildcard_constraints:
        experiment=experiments_that(lambda run: run.ready.pseudo_labels),
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        folder=lambda w: resolved(w.experiment).ready.pseudo_labels,
        files=lambda w: files_state(Path(resolved(w.experiment).ready.pseudo_labels)),
        source=source_digest("ssc.stages.ready_files"),
    script:
        "../workflow_scripts/ready_pseudo_labels.py"


rule check_weights:
    input:
        classes=CLASSES,
        weights=lambda w: experiments.ready(resolved(w.experiment), w.stage),
    output:
        facts=f"{RUN}/ready/{{stage}}.json",
    log:
        f"{RUN}/logs/check_weights/{{stage}}.log",
    benchmark:
        f"{RUN}/benchmarks/check_weights/{{stage}}.tsv"
    # Weights that do not fit must be told before a training of hours begins.
    priority: 100
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        source=source_digest("ssc.stages.check_weights"),
    script:
        "../workflow_scripts/check_weights.py"


ruleorder: ready_cams > cams
ruleorder: ready_pseudo_labels > cam_labels > random_walk
