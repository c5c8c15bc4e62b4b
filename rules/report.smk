# The report: table, comparison with the paper, curves, pictures, manifest. It holds what the run makes: what comes
# before ready weights or files is left out.

FIGURES = [f"figures/{name}.png" for name in ("panels", "predictions", "seeds", "class_iou", "losses")]


@cache
def made(experiment):
    """The stages that a run makes."""
    return experiments.made_stages(resolved(experiment))


def stage_figures(wildcards):
    """Params function: by title, the figures of the stages that the run reports."""
    reported = experiments.reported_stages(resolved(wildcards.experiment))
    return {STAGES[name].title: owned(name, f"{RUN}/{STAGES[name].figures}")(wildcards) for name in reported}


def loss_tables(wildcards):
    """Params function: by title, the tables of losses of the trainings of the run."""
    trained = [name for name in TRAININGS if name in made(wildcards.experiment)]
    return {STAGES[name].title: owned(name, f"{RUN}/{name}_losses.tsv")(wildcards) for name in trained}


def named(params):
    """Input function: the files that a params function names."""
    return lambda w: list(params(w).values())


def splits(rule, run):
    """The splits whose photos the jobs of a rule go through in a run."""
    measured = ["train"] if {"seeds", "pseudo_labels"} & set(experiments.made_stages(run)) else []
    return {
        None: [],
        "train": ["train"],
        "predicted": [run.prediction.split],
        "both": sorted({*measured, run.prediction.split}),
        "all": list(SPLITS),
    }[rule.split]


def jobs(rule, path, run):
    """`path` for all jobs of a rule in a run."""
    return expand(path, split=splits(rule, run), shard=SHARDS, allow_missing=True)


def initial_weights(wildcards):
    """Weight files that the trainings of the run start from, and that of the loss network."""
    starts = [start_weights(stage)(wildcards) for stage in TRAININGS if stage in made(wildcards.experiment)]
    starts += [loss_network(wildcards)] if "classifier" in made(wildcards.experiment) else []
    return sorted({file for file in starts if file})


def results(wildcards):
    """Input function: by stage, the files that a run's results come from, up to its figures; none that holds times, which
    no two runs have in common."""
    run = resolved(wildcards.experiment)
    files = {"initial_weights": initial_weights(wildcards)}
    for name, stage in STAGES.items():
        given = experiments.ready(run, name)
        if given and stage.ready == "weights" and set(made(wildcards.experiment)) & readers(name):
            files[name] = [given]
        elif name in made(wildcards.experiment) and name != "warm_start":
            found = [
                file
                for rule in stage.rules
                if rule.name != "demo_data"
                for path in outputs(rule.name).values()
                for file in jobs(rule, path, run)
            ]
            files[name] = found if stage.shared else owned(name, found)(wildcards)
    return files


def readers(name):
    """Names of the stages that read a stage."""
    return {other for other, stage in STAGES.items() if name in stage.reads}


def benchmarks(wildcards):
    """Params function: by title, rules with the benchmark files of the jobs that the run's results come from, and with the
    photos that these go through."""
    run = resolved(wildcards.experiment)
    found = {}
    for name, stage in STAGES.items():
        if name not in made(wildcards.experiment):
            continue
        for rule in stage.rules:
            names = jobs(rule, rule.benchmark, run)
            if name == "warm_start":
                names = [f"warm_start/{Path(file).stem}" for file in initial_weights(wildcards)]
            folder = (
                f"{RESULTS}/benchmarks" if stage.shared else f"{RESULTS}/{owner(wildcards.experiment, name)}/benchmarks"
            )
            row = {
                "rule": rule.name,
                "files": [f"{folder}/{job}.tsv" for job in names],
                "splits": splits(rule, run),
                "masked": rule.masked,
            }
            found.setdefault(stage.title, []).append(row)
    return found


rule metrics:
    input:
        named(stage_figures),
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
        benchmarks=benchmarks,
        source=source_digest("ssc.report.metrics_table"),
    script:
        "../workflow_scripts/metrics.py"


rule comparison:
    input:
        named(stage_figures),
        classifier=lambda w: checked("classifier")(w) if "cams" in made(w.experiment) else [],
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
        stages=stage_figures,
        networks=lambda w: {
            name: getattr(resolved(w.experiment), name).backbone
            for name in ("classifier", "segmentation")
            # The network behind ready CAMs is not known.
            if name == "segmentation" or ("cams" in made(w.experiment) and not resolved(w.experiment).ready.cams)
        },
        dataset=config["dataset"]["name"],
        kind=config["dataset"]["kind"],
        source=source_digest("ssc.report.comparison"),
    script:
        "../workflow_scripts/comparison.py"


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
        stages=stage_figures,
        trainings=loss_tables,
        source=source_digest("ssc.report.curves"),
    script:
        "../workflow_scripts/figures.py"


def if_made(stage, files):
    """Input function: files of a stage of the run; nothing where the run does not make it."""
    return lambda w: files(w) if stage in made(w.experiment) else []


rule panels:
    input:
        index=INDEX,
        classes=CLASSES,
        superpixels=if_made("superpixels", lambda w: shards(rules.superpixels.output.archive)),
        cams=if_made("cams", owned("cams", shards(rules.cams.output.archive))),
        classifier=if_made("cams", lambda w: weights("classifier")(w) if not resolved(w.experiment).ready.cams else []),
        irn=if_made(
            "pseudo_labels", lambda w: weights("irn")(w) if not resolved(w.experiment).ready.pseudo_labels else []
        ),
        pseudo_labels=if_made("pseudo_labels", owned("pseudo_labels", shards(rules.random_walk.output.labels))),
        segmentation=weights("segmentation"),
        masks=lambda w: (
            shards(rules.masks.output.archive.replace("{split}", "train"))
            if "train" in splits(RULES["masks"], resolved(w.experiment))
            else []
        ),
        scores=if_made("pseudo_labels", owned("pseudo_labels", rules.evaluate_pseudo_labels.output.images)),
        predictions=owned("predictions", shards(rules.predictions.output.labels)),
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
        edge_scale=lambda w: resolved(w.experiment).pseudo_labels.scale,
        source=code("ssc.report.panels", "prediction", "classifier", "irn", "segmentation"),
    script:
        "../workflow_scripts/panels.py"
