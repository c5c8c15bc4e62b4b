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


def if_made(stage, files):
    """Input function: files of a stage of the run; nothing where the run does not make it."""
    return lambda w: files(w) if stage in made(w.experiment) else []


def if_used(stage, files):
    """Input function: files of a training; nothing where no stage of the run reads its weights."""
    return lambda w: files(w) if experiments.uses(resolved(w.experiment), stage) else []


def jobs(rule, path, run):
    """`path` for all jobs of a rule in a run."""
    return expand(path, split=experiments.photo_splits(run, rule), shard=SHARDS, allow_missing=True)


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
        if stage.ready == "weights" and experiments.ready(run, name) and experiments.uses(run, name):
            files[name] = experiments.ready(run, name)
        elif name in made(wildcards.experiment) and name != "warm_start":
            rules_of_stage = [rule for rule in stage.rules if rule.name != "demo_data"]
            paths = [(rule, path) for rule in rules_of_stage for path in outputs(rule.name).values()]
            found = [file for rule, path in paths for file in jobs(rule, path, run)]
            files[name] = found if stage.shared else owned(name, found)(wildcards)
    return files


def benchmarks(wildcards):
    """Params function: by title, rules with the benchmark files of the jobs that the run's results come from, and with the
    photos that these go through."""
    run, found = resolved(wildcards.experiment), {}
    for name in made(wildcards.experiment):
        stage = STAGES[name]
        folder = RESULTS if stage.shared else f"{RESULTS}/{owner(wildcards.experiment, name)}"
        for rule in stage.rules:
            ran = jobs(rule, rule.benchmark, run)
            if name == "warm_start":
                ran = [f"warm_start/{Path(file).stem}" for file in initial_weights(wildcards)]
            row = {"rule": rule.name, "files": [f"{folder}/benchmarks/{job}.tsv" for job in ran]}
            row |= {"splits": experiments.photo_splits(run, rule), "masked": rule.masked}
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
        stages=stage_figures,
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


rule panels:
    input:
        index=INDEX,
        classes=CLASSES,
        superpixels=if_made("superpixels", lambda w: shards(rules.superpixels.output.archive)),
        cams=if_made("cams", owned("cams", shards(rules.cams.output.archive))),
        classifier=if_used("classifier", weights("classifier")),
        irn=if_used("irn", weights("irn")),
        pseudo_labels=if_made("pseudo_labels", owned("pseudo_labels", shards(rules.random_walk.output.labels))),
        segmentation=weights("segmentation"),
        masks=lambda w: [
            path
            for path in jobs(RULES["masks"], rules.masks.output.archive, resolved(w.experiment))
            if "/train/" in path
        ],
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
