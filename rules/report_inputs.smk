# What the report reads: the stages that a run makes, by the stage table.

from importlib.resources import files as package_files

from ssc.report.verdict import as_lines
from ssc.runtime.files import file_digest, read_json

PAGE = package_files("ssc.report") / "page.html.j2"
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
    return expand(named_path(path), split=experiments.photo_splits(run, rule), shard=SHARDS, allow_missing=True)


def stage_archives(wildcards):
    """Input function: by stage, the archives of which the report shows pictures; none of a stage that is not made."""
    found = {
        "superpixels": if_made("superpixels", lambda w: shards(rules.superpixels.output.archive)),
        "cams": if_made("cams", owned("cams", shards(rules.cams.output.archive))),
        "pseudo_labels": if_made("pseudo_labels", owned("pseudo_labels", shards(rules.random_walk.output.labels))),
        "predictions": owned("predictions", shards(rules.predictions.output.labels)),
    }
    return {name: files(wildcards) for name, files in found.items()}


def first_archives(wildcards):
    """Input function: of `stage_archives` those that a preview waits for."""
    found = stage_archives(wildcards)
    return {name: found[name] for name in ("superpixels", "cams")}


def later_archives(wildcards):
    """Params function: of `stage_archives` those that a preview shows if they are there already."""
    found = stage_archives(wildcards)
    names = ("pseudo_labels", "predictions")
    return {name: [file for file in as_read(found[name]) if Path(file).exists()] for name in names}


def page_figures(wildcards):
    """Input function: by name, the figures that the page shows; no losses where nothing was trained."""
    figures = {"panels": rules.panels.output.panels}
    figures |= {"seeds": rules.figures.output.seeds} if "seeds" in stage_figures(wildcards) else {}
    figures |= {"losses": rules.figures.output.losses} if loss_tables(wildcards) else {}
    return {name: named_path(path).format(**wildcards) for name, path in figures.items()}


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
            files[name] = [experiments.ready(run, name)]
        elif name in made(wildcards.experiment) and name not in ("warm_start", "cross_validation"):
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
        for step in stage.rules:
            ran = jobs(step, step.benchmark, run)
            if name == "warm_start":
                starts = [Path(file) for file in initial_weights(wildcards)]
                ran = [f"warm_start/{file.stem}" for file in starts if file.parent.name == "warm_start"]
            row = {"rule": step.name, "files": as_read([f"{folder}/benchmarks/{job}.tsv" for job in ran])}
            row |= {"splits": experiments.photo_splits(run, step), "masked": step.masked}
            found.setdefault(stage.title, []).append(row)
    return found
