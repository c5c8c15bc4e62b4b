# The report: table, comparison with the paper, verdict, curves, pictures, manifest, and the page with all of it. It holds
# what the run makes: what comes before ready weights or files is left out.


rule metrics:
    input:
        named(stage_figures),
        if_made("cross_validation", owned("cross_validation", rules.cross_validate.output.scores)),
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
        stages=lambda w: as_read(stage_figures(w)),
        benchmarks=benchmarks,
        selected=selects,
        source=source_digest("ssc.report.metrics_table"),
    script:
        "../workflow_scripts/metrics.py"


rule comparison:
    input:
        named(stage_figures),
        classifier=if_used("classifier", checked("classifier")),
        segmentation=checked("segmentation"),
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
        stages=lambda w: as_read(stage_figures(w)),
        networks=lambda w: {
            stage: getattr(resolved(w.experiment), stage).backbone
            for stage in ("classifier", "segmentation")
            if experiments.uses(resolved(w.experiment), stage)
        },
        dataset=config["dataset"]["name"],
        kind=config["dataset"]["kind"],
        source=source_digest("ssc.report.comparison"),
    script:
        "../workflow_scripts/comparison.py"


rule verdict:
    input:
        index=INDEX,
        classes=CLASSES,
        cross_validation=if_made("cross_validation", owned("cross_validation", rules.cross_validate.output.scores)),
        scores=if_used("classifier", owned("cams", rules.evaluate_classifier.output.scores)),
        cams=if_made("cams", owned("cams", shards(rules.cams.output.archive))),
        pseudo_labels=if_made("pseudo_labels", owned("pseudo_labels", shards(rules.random_walk.output.labels))),
        predictions=owned("predictions", shards(rules.predictions.output.labels)),
    output:
        f"{RUN}/verdict.json",
    log:
        f"{RUN}/logs/verdict.log",
    benchmark:
        f"{RUN}/benchmarks/verdict.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        split=lambda w: resolved(w.experiment).prediction.split,
        pretrained=lambda w: resolved(w.experiment).classifier.weights not in ("none", "warm_start")
        or bool(resolved(w.experiment).ready.classifier),
        source=source_digest("ssc.report.evidence"),
    script:
        "../workflow_scripts/verdict.py"


rule manifest:
    input:
        f"{RUN}/metrics.tsv",
        unpack(results),
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
        config=lambda w: resolved(w.experiment).decisive(),
        source=source_digest("ssc.workflow.manifest"),
    script:
        "../workflow_scripts/manifest.py"


rule figures:
    input:
        named(stage_figures),
        named(loss_tables),
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
        stages=lambda w: as_read(stage_figures(w)),
        trainings=lambda w: as_read(loss_tables(w)),
        source=source_digest("ssc.report.curves"),
    script:
        "../workflow_scripts/figures.py"


rule panels:
    input:
        unpack(stage_archives),
        index=INDEX,
        classes=CLASSES,
        classifier=if_used("classifier", weights("classifier")),
        irn=if_used("irn", weights("irn")),
        segmentation=weights("segmentation"),
        masks=lambda w: [
            path
            for path in jobs(RULES["masks"], rules.masks.output.archive, resolved(w.experiment))
            if "/train/" in path
        ],
        scores=if_made("pseudo_labels", owned("pseudo_labels", rules.evaluate_pseudo_labels.output.images)),
        prediction_masks=owned("predictions", shards(rules.masks.output.archive)),
        prediction_scores=owned("predictions", rules.evaluate_predictions.output.images),
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
        prediction=lambda w: resolved(w.experiment).prediction.decisive(),
        edges=lambda w: resolved(w.experiment).pseudo_labels.model_dump(include={"scale", "pad", "mirror"}),
        source=code("ssc.report.panels", "prediction", "classifier", "irn", "segmentation"),
    script:
        "../workflow_scripts/panels.py"


# The pages lie where Snakemake runs, in object storage too, which knows no empty folder.
rule page:
    input:
        unpack(stage_archives),
        unpack(page_figures),
        index=INDEX,
        classes=CLASSES,
        metrics=rules.metrics.output.table,
        costs=rules.metrics.output.costs,
        comparison=rules.comparison.output.table,
        verdict=rules.verdict.output[0],
    output:
        page=local(f"{RUN}/report.html"),
        thumbnails=local(directory(f"{RUN}/report_thumbnails")),
    log:
        f"{RUN}/logs/page.log",
    benchmark:
        f"{RUN}/benchmarks/page.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 4
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        predicted=lambda w: resolved(w.experiment).prediction.split,
        dataset=config["dataset"]["name"],
        source=[source_digest("ssc.report.page"), file_digest(PAGE)],
    script:
        "../workflow_scripts/page.py"


rule preview_page:
    input:
        unpack(first_archives),
        index=INDEX,
        classes=CLASSES,
    output:
        page=local(f"{RUN}/preview.html"),
        thumbnails=local(directory(f"{RUN}/preview_thumbnails")),
    log:
        f"{RUN}/logs/preview_page.log",
    benchmark:
        f"{RUN}/benchmarks/preview_page.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 4
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        later=later_archives,
        later_made=lambda w: [Path(file).stat().st_mtime_ns for files in later_archives(w).values() for file in files],
        predicted=lambda w: resolved(w.experiment).prediction.split,
        dataset=config["dataset"]["name"],
        source=[source_digest("ssc.report.page"), file_digest(PAGE)],
    script:
        "../workflow_scripts/preview_page.py"
