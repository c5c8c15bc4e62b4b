# What the report and the ablation read: the stages that a run makes, and the runs that are compared.


def stages_of(wildcards):
    """The stages that the run of the job's experiment makes."""
    return made_stages(resolved(wildcards.experiment))


def if_made(stage, file):
    """Input function: what the input function `file` gives; nothing where the run does not make that stage."""
    return lambda wildcards: file(wildcards) if stage in stages_of(wildcards) else []


def stage_figures(wildcards):
    """Params function: by name in the report, the JSON files of the stages that the run reports."""
    reported = reported_stages(resolved(wildcards.experiment))
    files = {stage: f"{name.replace('-', '_')}.json" for stage, name in REPORTED.items()}
    return {REPORTED[stage]: made(wildcards.experiment, stage, files[stage]) for stage in reported}


def loss_histories(wildcards):
    """Params function: by name in the report, the loss histories of the trainings of the run."""
    done = [stage for stage in TRAININGS if stage in stages_of(wildcards)]
    return {TRAININGS[stage]: made(wildcards.experiment, stage, f"{stage}_losses.json") for stage in done}


def file_list(named):
    """Input function: the files that the params function `named` names."""
    return lambda wildcards: list(named(wildcards).values())


def network_names(wildcards):
    """Params function: backbones of the classifier and of the segmentation network; none where CAMs were ready."""
    run = resolved(wildcards.experiment)
    own_cams = "cams" in stages_of(wildcards) and not run["cams"]["folder"]
    return {stage: run[stage]["backbone"] for stage in (*(["classifier"] if own_cams else []), "segmentation")}


def panel_superpixels(wildcards):
    """Input function: superpixels where a stage of the run uses them."""
    trained_on = if_made("classifier", superpixel_files)(wildcards)
    refining = "cams" in stages_of(wildcards) and refines_cams(wildcards)
    return expand(f"{RESULTS}/superpixels/{{shard}}.zip", shard=SHARDS) if trained_on or refining else []


def train_masks(wildcards):
    """Input function: ground truth of the training photos where the run measures anything on them."""
    measured = {"seeds", "pseudo_labels"} & set(stages_of(wildcards))
    return expand(f"{RESULTS}/masks/train/{{shard}}.zip", shard=SHARDS) if measured else []


def method_settings(wildcards):
    """Params function: all settings of the experiment but those that no result depends on."""
    beside = {"ablation", "compile", "experiment", "experiments", "memory", "report", "workers"}
    settings = {key: value for key, value in resolved(wildcards.experiment).items() if key not in beside}
    settings["dataset"] = {key: value for key, value in settings["dataset"].items() if key not in BESIDE}
    return settings


def initial_weights(wildcards):
    """Weight files that the trainings of the run start from, and that of the loss network."""
    starts = [weight_file(stage)(wildcards) for stage in TRAININGS if stage in stages_of(wildcards)]
    starts.append(if_made("classifier", loss_network_file)(wildcards))
    return sorted({file for file in starts if file})


def result_files(wildcards):
    """Input function: by stage, in the order of the road, the files that a run's results come from, up to its figures;
    none that holds times, which no two runs have in common."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    stages = stages_of(wildcards)

    def weights(file):
        found = file(wildcards)
        return [found] if found else []

    def own(stage, *files):
        return [made(wildcards.experiment, stage, file) for file in files] if stage in stages else []

    def sharded(stage, folder, kind="zip"):
        return expand(own(stage, f"{folder}/{{shard}}.{kind}"), shard=SHARDS)

    return {
        "data": [INDEX, CLASSES, *dict.fromkeys(train_masks(wildcards) + prediction_masks(wildcards))],
        "superpixels": panel_superpixels(wildcards),
        "initial_weights": initial_weights(wildcards),
        "classifier": [
            *weights(if_made("cams", unless_ready("cams", trained("classifier")))),
            *own("classifier", "classifier_losses.json"),
        ],
        "cams": sharded("cams", "cams"),
        "seeds": [*sharded("seeds", "seeds", "json"), *own("seeds", "seeds.json")],
        "irn_labels": sharded("irn_labels", "irn_labels"),
        "irn": [
            *weights(if_made("pseudo_labels", unless_ready("pseudo_labels", trained("irn")))),
            *own("irn", "irn_losses.json"),
        ],
        "pseudo_labels": [
            *sharded("pseudo_labels", "pseudo_labels"),
            *sharded("pseudo_labels", "confidence"),
            *sharded("pseudo_labels", "pseudo_label_counts", "json"),
            *own("pseudo_labels", "pseudo_labels.json", "pseudo_labels_images.tsv"),
        ],
        "segmentation": [
            *weights(trained("segmentation")),
            *own("segmentation", "segmentation_losses.json"),
        ],
        "predictions": [
            *sharded("predictions", f"predictions/{split}"),
            *sharded("predictions", f"prediction_steps/{split}"),
            *sharded("predictions", f"prediction_counts/{split}", "json"),
            *own("predictions", "segmentation.json", "segmentation_images.tsv"),
        ],
    }


def benchmark_files(wildcards):
    """Params function: by stage, its rules with the benchmark files of the jobs that the run's results come from, and
    with the photos that these go through."""
    split = resolved(wildcards.experiment)["prediction"]["split"]
    stages = stages_of(wildcards)
    splits = sorted({*(["train"] if train_masks(wildcards) else []), split})
    predicted = [f"{split}/{shard}" for shard in SHARDS]

    def shared(rule, jobs=None, *, splits=("train",), masked=False, folder=RESULTS):
        names = [rule] if jobs is None else [f"{rule}/{job}" for job in jobs]
        files = [f"{folder}/benchmarks/{name}.tsv" for name in names]
        return {"rule": rule, "files": files, "splits": list(splits), "masked": masked}

    def own(stage, rule, jobs=None, **photos):
        if stage not in stages:
            return []
        return [shared(rule, jobs, **photos, folder=f"{RESULTS}/{maker(wildcards.experiment, stage)}")]

    return {
        "data": [
            shared("demo_data", splits=SPLITS),
            shared("index", splits=SPLITS),
            shared("masks", [f"{name}/{shard}" for name in splits for shard in SHARDS], splits=splits, masked=True),
        ],
        "superpixels": [shared("superpixels", SHARDS if panel_superpixels(wildcards) else [])],
        "warm start": [shared("warm_start", [Path(file).stem for file in initial_weights(wildcards)])],
        "classifier": own("classifier", "train_classifier"),
        "seeds": [
            *own("cams", "cams", SHARDS),
            *own("seeds", "count_seeds", SHARDS, masked=True),
            *own("seeds", "evaluate_seeds", splits=[]),
        ],
        "IRN labels": own("irn_labels", "irn_labels", SHARDS),
        "IRN": own("irn", "train_irn"),
        "pseudo-labels": [
            *own("pseudo_labels", "random_walk", SHARDS),
            *own("pseudo_labels", "count_pseudo_labels", SHARDS, masked=True),
            *own("pseudo_labels", "evaluate_pseudo_labels", splits=[]),
        ],
        "segmentation": [
            *own("segmentation", "train_segmentation"),
            *own("predictions", "predictions", predicted, splits=[split]),
            *own("predictions", "count_predictions", predicted, splits=[split], masked=True),
            *own("predictions", "evaluate_predictions", splits=[]),
        ],
    }


def measured(files):
    """Input function: figures of seeds; an error, before anything runs, where no photo has a mask to measure them on."""

    def checked(wildcards):
        if config["dataset"]["kind"] == "folder" and config["dataset"]["masks"] is None:
            raise WorkflowError("dataset.masks is not set: an ablation measures on masks; name the folder of yours.")
        return files

    return checked


def seed_files(experiment):
    """The figures of an experiment's seeds, one file per random seed."""
    return [made(with_seed(experiment, seed, resolved), "seeds", "seeds.json") for seed in config["ablation"]["seeds"]]


def ablation_experiments():
    """Experiments of the table: those asked for, or, in the paper's order, all declared ones that differ in seeds."""
    swept = sweep_experiments(config["ablation"]["sweeps"])
    declared = [name for name in EXPERIMENTS if name not in swept and maker(name, "seeds") == name]
    of_the_paper = [name for name in ABLATION_ROWS if name in declared]
    return config["ablation"]["experiments"] or [
        *of_the_paper,
        *(name for name in declared if name not in ABLATION_ROWS),
    ]


def table_files():
    """Params: seed figures by experiment of the table."""
    return {name: seed_files(name) for name in ablation_experiments()}


def first_run(experiment):
    """The run of an experiment of the table whose pictures are shown: that of the first random seed."""
    return with_seed(experiment, config["ablation"]["seeds"][0], resolved)


def ranking_experiment():
    """The run by whose seeds the photos of the ablation's sheets are chosen: of `ssc`, or of the table's last row."""
    names = ablation_experiments()
    return first_run("ssc" if "ssc" in names else names[-1])


def cam_archives(experiment):
    """A run's archives of CAMs."""
    return expand(made(experiment, "cams", "cams/{shard}.zip"), shard=SHARDS)


def cam_files():
    """Params: archives of CAMs by experiment of the table."""
    return {name: cam_archives(first_run(name)) for name in ablation_experiments()}


def classifier_files():
    """Params: weights of the classifiers by experiment of the table, of those that may have a decoder."""
    files = {}
    for name in ablation_experiments():
        run = resolved(first_run(name))
        ready = run["classifier"]["trained"]
        if not run["cams"]["folder"] and (ready or run["classifier"]["cdr"]["enabled"]):
            files[name] = ready or made(first_run(name), "classifier", "classifier.safetensors")
    return files


def sweep_files():
    """Params: seed figures by sweep and value."""
    sweeps = config["ablation"]["sweeps"]
    return {
        name: {value: seed_files(sweep_name(name, value)) for value in sweep["values"]}
        for name, sweep in sweeps.items()
    }
