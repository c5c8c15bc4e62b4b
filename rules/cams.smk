# Class activation maps and the seeds that a threshold makes of them.


rule cams:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        weights=unless_ready("cams", trained("classifier")),
        checked=unless_ready("cams", trained_facts("classifier")),
        superpixels=refining_superpixels,
    output:
        f"{RUN}/cams/{{shard}}.zip",
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
        settings=setting("cams"),
        precision=setting("precision"),
        source=source("cams", "ssc.cams"),
    script:
        "../workflow_scripts/cams.py"


rule count_seeds:
    input:
        index=TRAIN_SHARD_INDEX,
        classes=CLASSES,
        cams=artefact("cams", "cams/{shard}.zip"),
        masks=f"{RESULTS}/masks/train/{{shard}}.zip",
    output:
        f"{RUN}/seeds/{{shard}}.json",
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
        thresholds=setting("seeds", "thresholds"),
        source=source_digest("ssc.seeds"),
    script:
        "../workflow_scripts/count_seeds.py"


rule evaluate_seeds:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        shards=expand(f"{RUN}/seeds/{{shard}}.json", shard=SHARDS, allow_missing=True),
    output:
        f"{RUN}/seeds.json",
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
        threshold=setting("seeds", "threshold"),
        source=source_digest("ssc.seeds"),
    script:
        "../workflow_scripts/evaluate_seeds.py"
