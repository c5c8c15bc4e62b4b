# What the ablation reads: the figures and archives of several experiments over several random seeds.

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
    return named_path(path).format(experiment=owner(experiment, stage))


def runs_of(experiment):
    """The runs of an experiment, one per random seed."""
    return [experiments.with_seed(experiment, seed, resolved) for seed in config["ablation"]["seeds"]]


def seed_files(experiment):
    """The figures of an experiment's seeds, one file per random seed."""
    return [of_owner(run, "seeds", rules.evaluate_seeds.output.figures) for run in runs_of(experiment)]


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


def ranking_threshold():
    """The threshold of that run's CAMs, where its seeds are reported at it."""
    run = ranking_run()
    return (
        of_owner(run, "cam_threshold", rules.cam_threshold.output.threshold) if resolved(run).seeds.has_auto() else []
    )


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


def classifier_scores(experiment):
    """How well an experiment's classifiers tell classes, one file per random seed; none where CAMs are ready."""
    path = rules.evaluate_classifier.output.scores
    return [of_owner(run, "cams", path) for run in runs_of(experiment) if not resolved(run).ready.cams]


def followed(experiment):
    """The seeds and the stages that the table follows an experiment to: by stage `figures` and `regions`, each a file
    per random seed."""
    stages = {
        "seeds": ("seeds", rules.evaluate_seeds.output),
        "pseudo_labels": ("pseudo_labels", rules.evaluate_pseudo_labels.output),
        "segmentation": ("predictions", rules.evaluate_predictions.output),
    }
    last = list(stages).index(config["ablation"]["until"])
    return {
        stage: {
            kind: [of_owner(run, making, getattr(files, kind)) for run in runs_of(experiment)]
            for kind in ("figures", "regions")
        }
        for stage, (making, files) in list(stages.items())[: last + 1]
    }


def followed_files():
    """All files of `FOLLOWED`."""
    return [
        file for stages in FOLLOWED.values() for kinds in stages.values() for files in kinds.values() for file in files
    ]


FOLLOWED = {name: followed(name) for name in table_experiments()}
CLASSIFIERS = {name: classifier_scores(name) for name in table_experiments()}
SWEEPS = {
    name: {value: seed_files(experiments.sweep_name(name, value)) for value in sweep["values"]}
    for name, sweep in config["ablation"]["sweeps"].items()
}
CAM_ARCHIVES = {name: cam_archives(first_run(name)) for name in table_experiments()}
TRAIN_MASKS = shards(rules.masks.output.archive.replace("{split}", "train"))
