# Pseudo-labels: random walk of the CAMs over the class-boundary map.


rule random_walk:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        cams=unless_ready("pseudo_labels", artefact("cams", "cams/{shard}.zip")),
        weights=unless_ready("pseudo_labels", trained("irn")),
        checked=unless_ready("pseudo_labels", trained_facts("irn")),
    output:
        labels=f"{RUN}/pseudo_labels/{{shard}}.zip",
        confidence=f"{RUN}/confidence/{{shard}}.zip",
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
        settings=setting("pseudo_labels"),
        precision=setting("precision"),
        source=source("pseudo_labels", "ssc.pseudo_labels"),
    script:
        "../workflow_scripts/random_walk.py"


rule count_pseudo_labels:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        labels=f"{RUN}/pseudo_labels/{{shard}}.zip",
        masks=f"{RESULTS}/masks/train/{{shard}}.zip",
    output:
        f"{RUN}/pseudo_label_counts/{{shard}}.json",
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
        shards=expand(f"{RUN}/pseudo_label_counts/{{shard}}.json", shard=SHARDS, allow_missing=True),
    output:
        figures=f"{RUN}/pseudo_labels.json",
        images=f"{RUN}/pseudo_labels_images.tsv",
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
