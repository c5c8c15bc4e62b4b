# The report: table, comparison with the paper, curves, pictures, manifest. It holds what the run makes: what comes
# before ready weights or files is left out.


rule metrics:
    input:
        file_list(stage_figures),
        index=INDEX,
        classes=CLASSES,
    output:
        table=report(
            f"{RUN}/metrics.tsv",
            caption="../report/metrics.rst",
            category="{experiment}",
            labels={"what": "All stages"},
        ),
        costs=report(
            f"{RUN}/costs.tsv",
            caption="../report/costs.rst",
            category="{experiment}",
            labels={"what": "Costs"},
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
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        stages=stage_figures,
        benchmarks=benchmark_files,
        source=source_digest("ssc.report.metrics_table"),
    script:
        "../workflow_scripts/metrics.py"


rule comparison:
    input:
        file_list(stage_figures),
        classifier=if_made("cams", unless_ready("cams", trained_facts("classifier"))),
        segmentation=trained_facts("segmentation"),
    output:
        table=report(
            f"{RUN}/comparison.tsv",
            caption="../report/comparison.rst",
            category="{experiment}",
            labels={"what": "Beside the paper"},
        ),
        markdown=f"{RUN}/comparison.md",
    log:
        f"{RUN}/logs/comparison.log",
    benchmark:
        f"{RUN}/benchmarks/comparison.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        stages=stage_figures,
        networks=network_names,
        dataset=config["dataset"]["name"],
        kind=config["dataset"]["kind"],
        source=source_digest("ssc.report.comparison"),
    script:
        "../workflow_scripts/comparison.py"


rule manifest:
    input:
        f"{RUN}/metrics.tsv",
        unpack(result_files),
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
        mem_mb=growing(2000),
        runtime=growing(10),
        gpu=GPU,
    params:
        config=method_settings,
        source=source_digest("ssc.workflow.manifest"),
    script:
        "../workflow_scripts/manifest.py"


rule figures:
    input:
        file_list(stage_figures),
        file_list(loss_histories),
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
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        stages=stage_figures,
        trainings=loss_histories,
        source=source_digest("ssc.report.curves"),
    script:
        "../workflow_scripts/figures.py"


rule panels:
    input:
        index=INDEX,
        classes=CLASSES,
        superpixels=panel_superpixels,
        cams=if_made("cams", artefacts("cams", "cams/{shard}.zip")),
        classifier=if_made("cams", unless_ready("cams", trained("classifier"))),
        irn=if_made("pseudo_labels", unless_ready("pseudo_labels", trained("irn"))),
        pseudo_labels=if_made("pseudo_labels", artefacts("pseudo_labels", "pseudo_labels/{shard}.zip")),
        segmentation=trained("segmentation"),
        masks=train_masks,
        scores=if_made("pseudo_labels", artefact("pseudo_labels", "pseudo_labels_images.tsv")),
        predictions=prediction_files,
        prediction_masks=prediction_masks,
        prediction_scores=artefact("predictions", "segmentation_images.tsv"),
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
        mem_mb=growing(8000),
        runtime=growing(30),
        gpu=GPU,
    params:
        panels=config["report"]["panels"],
        prediction=setting("prediction"),
        edge_scale=setting("pseudo_labels", "scale"),
        source=source_digest("ssc.report.panels"),
    script:
        "../workflow_scripts/panels.py"
