# Weights to start from: ImageNet's, downloaded once and checked, or a warm start on the data set itself.


rule download_weights:
    output:
        f"{WEIGHTS}/{{network}}.safetensors",
    log:
        "results/logs/download_weights/{network}.log",
    benchmark:
        "results/benchmarks/download_weights/{network}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        source=source_digest("ssc.weights"),
    script:
        "../workflow_scripts/download_weights.py"


rule warm_start:
    input:
        index=INDEX,
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
        mem_mb=16000,
        runtime=1440,
        gpu=GPU,
    params:
        settings=lambda w: warm_start_settings(config, backbone=w.backbone, output_stride=int(w.stride)),
        precision=config["precision"],
        source=source_digest("ssc.training.classifier"),
    script:
        "../workflow_scripts/warm_start.py"
