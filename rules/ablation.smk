# The paper's ablations (Tables VII and VIII, Fig. 7): seeds of several experiments over several random seeds.


rule ablation_table:
    input:
        measured(followed_files()),
        [file for files in CLASSIFIERS.values() for file in files],
    output:
        table=report(
            f"{ABLATION}/table.tsv",
            caption="../report/ablation.rst",
            category="ablation",
            labels={"what": "Experiments"},
        ),
        stages=report(
            f"{ABLATION}/stages.tsv",
            caption="../report/ablation_stages.rst",
            category="ablation",
            labels={"what": "Stages"},
        ),
        markdown=f"{ABLATION}/table.md",
        curves=report(
            f"{ABLATION}/curves.png",
            caption="../report/ablation_curves.rst",
            category="ablation",
            labels={"what": "Seeds over the threshold"},
        ),
    log:
        f"{ABLATION}/logs/table.log",
    benchmark:
        f"{ABLATION}/benchmarks/table.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        followed=as_read(FOLLOWED),
        classifiers=as_read(CLASSIFIERS),
        dataset=config["dataset"]["name"],
        source=[source_digest("ssc.report.ablation"), source_digest("ssc.report.curves")],
    script:
        "../workflow_scripts/ablation_table.py"


rule ablation_sweeps:
    input:
        measured([file for points in SWEEPS.values() for files in points.values() for file in files]),
    output:
        report(
            f"{ABLATION}/sweeps.png",
            caption="../report/ablation_sweeps.rst",
            category="ablation",
            labels={"what": "Sweeps"},
        ),
    log:
        f"{ABLATION}/logs/sweeps.log",
    benchmark:
        f"{ABLATION}/benchmarks/sweeps.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sweeps=as_read(SWEEPS),
        source=source_digest("ssc.report.curves"),
    script:
        "../workflow_scripts/ablation_sweeps.py"


rule score_images:
    input:
        index=INDEX,
        cams=cam_archives(ranking_run()),
        cam_threshold=ranking_threshold(),
        masks=TRAIN_MASKS,
    output:
        f"{ABLATION}/images.tsv",
    log:
        f"{ABLATION}/logs/score_images.log",
    benchmark:
        f"{ABLATION}/benchmarks/score_images.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        settings=resolved(ranking_run()).seeds.decisive(),
        source=source_digest("ssc.stages.seeds"),
    script:
        "../workflow_scripts/score_images.py"


rule ablation_panels:
    input:
        [file for files in CAM_ARCHIVES.values() for file in files],
        index=INDEX,
        classes=CLASSES,
        masks=TRAIN_MASKS,
        scores=f"{ABLATION}/images.tsv",
    output:
        report(
            f"{ABLATION}/panels.png",
            caption="../report/ablation_panels.rst",
            category="ablation",
            labels={"what": "Activations"},
        ),
    log:
        f"{ABLATION}/logs/panels.log",
    benchmark:
        f"{ABLATION}/benchmarks/panels.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        cams=as_read(CAM_ARCHIVES),
        panels=config["report"]["panels"],
        source=source_digest("ssc.report.panels"),
    script:
        "../workflow_scripts/ablation_panels.py"


rule reconstructions:
    input:
        list(classifier_files().values()),
        index=INDEX,
        classes=CLASSES,
        masks=TRAIN_MASKS,
        scores=f"{ABLATION}/images.tsv",
    output:
        report(
            f"{ABLATION}/reconstructions.png",
            caption="../report/reconstructions.rst",
            category="ablation",
            labels={"what": "Reconstructions"},
        ),
    log:
        f"{ABLATION}/logs/reconstructions.log",
    benchmark:
        f"{ABLATION}/benchmarks/reconstructions.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
        gpu=GPU,
    params:
        classifiers=as_read(classifier_files()),
        panels=config["report"]["panels"],
        source=source_digest("ssc.report.panels"),
    script:
        "../workflow_scripts/reconstructions.py"
