# The report: table, curves, pictures, manifest.


rule metrics:
    input:
        seeds=f"{RUN}/seeds.json",
        pseudo_labels=f"{RUN}/pseudo_labels.json",
        segmentation=f"{RUN}/segmentation.json",
        classes=CLASSES,
    output:
        table=report(
            f"{RUN}/metrics.tsv",
            caption="../report/metrics.rst",
            category="{experiment}",
            labels={"what": "All stages"},
        ),
        text=f"{RUN}/summary.txt",
    log:
        f"{RUN}/logs/metrics.log",
    benchmark:
        f"{RUN}/benchmarks/metrics.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        benchmarks=benchmark_files,
        source=source_digest("ssc.report"),
    script:
        "../workflow_scripts/metrics.py"


rule manifest:
    input:
        f"{RUN}/metrics.tsv",
    output:
        f"{RUN}/manifest.json",
    log:
        f"{RUN}/logs/manifest.log",
    benchmark:
        f"{RUN}/benchmarks/manifest.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=method_settings,
        source=source_digest("ssc.provenance"),
    script:
        "../workflow_scripts/manifest.py"


rule figures:
    input:
        seeds=f"{RUN}/seeds.json",
        pseudo_labels=f"{RUN}/pseudo_labels.json",
        segmentation=f"{RUN}/segmentation.json",
        classifier=f"{RUN}/classifier_losses.json",
        irn=f"{RUN}/irn_losses.json",
        segmentation_losses=f"{RUN}/segmentation_losses.json",
        classes=CLASSES,
    output:
        seeds=report(
            f"{RUN}/figures/seeds.png",
            caption="../report/seeds.rst",
            category="{experiment}",
            labels={"what": "Seeds over the threshold"},
        ),
        class_iou=report(
            f"{RUN}/figures/class_iou.png",
            caption="../report/class_iou.rst",
            category="{experiment}",
            labels={"what": "IoU per class"},
        ),
        losses=report(
            f"{RUN}/figures/losses.png",
            caption="../report/losses.rst",
            category="{experiment}",
            labels={"what": "Losses"},
        ),
    log:
        f"{RUN}/logs/figures.log",
    benchmark:
        f"{RUN}/benchmarks/figures.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        source=source_digest("ssc.figures"),
    script:
        "../workflow_scripts/figures.py"


rule panels:
    input:
        index=INDEX,
        classes=CLASSES,
        superpixels=superpixel_files,
        cams=expand(f"{RUN}/cams/{{shard}}.zip", shard=SHARDS, allow_missing=True),
        classifier=f"{RUN}/classifier.safetensors",
        irn=f"{RUN}/irn.safetensors",
        pseudo_labels=expand(f"{RUN}/pseudo_labels/{{shard}}.zip", shard=SHARDS, allow_missing=True),
        segmentation=f"{RUN}/segmentation.safetensors",
        masks=expand(f"{RESULTS}/masks/train/{{shard}}.zip", shard=SHARDS),
        predictions=prediction_files,
        prediction_masks=prediction_masks,
    output:
        panels=report(
            f"{RUN}/figures/panels.png",
            caption="../report/panels.rst",
            category="{experiment}",
            labels={"what": "Training photos, stage by stage"},
        ),
        predictions=report(
            f"{RUN}/figures/predictions.png",
            caption="../report/predictions.rst",
            category="{experiment}",
            labels={"what": "Predictions"},
        ),
    log:
        f"{RUN}/logs/panels.log",
    benchmark:
        f"{RUN}/benchmarks/panels.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
        gpu=GPU,
    params:
        panels=config["report"]["panels"],
        prediction=setting("prediction"),
        edge_scale=setting("pseudo_labels", "scale"),
        source=source_digest("ssc.panels"),
    script:
        "../workflow_scripts/panels.py"
