# The paper's ablations (Tables VII and VIII, Fig. 7): seeds of several experiments over several random seeds.

from ssc.report.paper import ABLATION as ABLATION_ROWS


def measured(files):
    """Input function: figures of seeds; an error, before anything runs, where no photo has a mask to measure them on."""

    def checked(wildcards):
        if config["dataset"]["kind"] == "folder" and config["dataset"]["masks"] is None:
            raise WorkflowError("dataset.masks is not set: an ablation measures on masks; name the folder of yours.")
        return files

    return checked


def of_owner(experiment, stage, path):
    """A stage's file in the folder of the experiment that makes it for another."""
    return path.format(experiment=owner(experiment, stage))


def seed_files(experiment):
    """The figures of an experiment's seeds, one file per random seed."""
    runs = [experiments.with_seed(experiment, seed, resolved) for seed in config["ablation"]["seeds"]]
    return [of_owner(run, "seeds", rules.evaluate_seeds.output.figures) for run in runs]


def table_experiments():
    """Experiments of the table: those asked for, or, in the paper's order, all declared ones that differ in seeds."""
    swept = experiments.sweep_experiments(config["ablation"]["sweeps"])
    declared = [name for name in EXPERIMENTS if name not in swept and owner(name, "seeds") == name]
    of_the_paper = [name for name in ABLATION_ROWS if name in declared]
    return config["ablation"]["experiments"] or [
        *of_the_paper,
        *(name for name in declared if name not in ABLATION_ROWS),
    ]


def first_run(experiment):
    """The run of an experiment of the table whose pictures are shown: that of the first random seed."""
    return experiments.with_seed(experiment, config["ablation"]["seeds"][0], resolved)


def ranking_run():
    """The run by whose seeds the photos of the ablation's sheets are chosen: of `ssc`, or of the table's last row."""
    names = table_experiments()
    return first_run("ssc" if "ssc" in names else names[-1])


def cam_archives(run):
    """A run's archives of CAMs."""
    return [of_owner(run, "cams", path) for path in shards(rules.cams.output.archive)]


def classifier_files():
    """Params: weights of the classifiers by experiment of the table, of those that may have a decoder."""
    files = {}
    for name in table_experiments():
        run = resolved(first_run(name))
        given = run.ready.classifier
        if not run.ready.cams and (given or run.classifier.cdr.enabled):
            files[name] = given or of_owner(first_run(name), "classifier", rules.train_classifier.output.weights)
    return files


SEEDS = {name: seed_files(name) for name in table_experiments()}
SWEEPS = {
    name: {value: seed_files(experiments.sweep_name(name, value)) for value in sweep["values"]}
    for name, sweep in config["ablation"]["sweeps"].items()
}
CAM_ARCHIVES = {name: cam_archives(first_run(name)) for name in table_experiments()}
TRAIN_MASKS = shards(rules.masks.output.archive.replace("{split}", "train"))


rule ablation_table:
    input:
        measured([file for files in SEEDS.values() for file in files]),
    output:
        table=report(
            f"{ABLATION}/table.tsv",
            caption="../report/ablation.rst",
            category="ablation",
            labels={"what": "Experiments"},
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
        runtime=growing(10),
    params:
        experiments=SEEDS,
        dataset=config["dataset"]["name"],
        source=source_digest("ssc.report.curves"),
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
        sweeps=SWEEPS,
        source=source_digest("ssc.report.curves"),
    script:
        "../workflow_scripts/ablation_sweeps.py"


rule score_images:
    input:
        index=INDEX,
        cams=cam_archives(ranking_run()),
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
        threshold=resolved(ranking_run()).seeds.threshold,
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
        cams=CAM_ARCHIVES,
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
        classifiers=classifier_files(),
        panels=config["report"]["panels"],
        source=source_digest("ssc.report.panels"),
    script:
        "../workflow_scripts/reconstructions.py"
