# Weights to start from where there are no others: a warm start on the data set itself.


rule warm_start:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
    output:
        weights=f"{RESULTS}/warm_start/{{backbone}}-stride{{stride}}-seed{{seed}}.safetensors",
        history=f"{RESULTS}/warm_start/{{backbone}}-stride{{stride}}-seed{{seed}}_losses.json",
    log:
        f"{RESULTS}/logs/warm_start/{{backbone}}-stride{{stride}}-seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/warm_start/{{backbone}}-stride{{stride}}-seed{{seed}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 8
    resources:
        mem_mb=growing(16000),
        runtime=1440,
        gpu=GPU,
    params:
        settings=lambda w: warm_start_settings(config, backbone=w.backbone, output_stride=int(w.stride)),
        precision=config["precision"],
        threads=config["threads"],
        source=source_digest("ssc.training.classifier"),
    script:
        "../workflow_scripts/warm_start.py"


rule check_trained:
    input:
        classes=CLASSES,
        weights=lambda w: resolved(w.experiment)[w.stage]["trained"],
    output:
        f"{RUN}/trained/{{stage}}.json",
    log:
        f"{RUN}/logs/check_trained/{{stage}}.log",
    benchmark:
        f"{RUN}/benchmarks/check_trained/{{stage}}.tsv"
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
        "../workflow_scripts/check_trained.py"
