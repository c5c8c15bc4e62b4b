# Weakly supervised semantic segmentation with spatial structure constraints: image-level labels in, a segmentation
# network out. `snakemake --cores all` runs config.yaml, the demo; `--configfile config/<data set>.yaml` another data set.

from pathlib import Path

from snakemake.utils import min_version

min_version("9.5")


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/download.smk"
include: "rules/data.smk"
include: "rules/superpixels.smk"
include: "rules/classifier.smk"
include: "rules/cams.smk"
include: "rules/irn.smk"
include: "rules/pseudo_labels.smk"
include: "rules/segmentation.smk"
include: "rules/ready.smk"
include: "rules/report_inputs.smk"
include: "rules/report.smk"
include: "rules/ablation_inputs.smk"
include: "rules/ablation.smk"


localrules:
    all,
    preview,
    seeds,
    pseudo_labels,
    segmentation,
    ablation,
    test_archive,


rule all:
    default_target: True
    input:
        run_files("metrics.tsv", "comparison.tsv", "verdict.json", "manifest.json"),
        local(run_files("report.html")),
        run_files(*FIGURES),


rule preview:
    input:
        local(run_files("preview.html")),


rule seeds:
    input:
        of_owner(config["experiment"], "seeds", rules.evaluate_seeds.output.figures),


rule pseudo_labels:
    input:
        of_owner(config["experiment"], "pseudo_labels", rules.evaluate_pseudo_labels.output.figures),


rule segmentation:
    input:
        of_owner(config["experiment"], "predictions", rules.evaluate_predictions.output.figures),


rule test_archive:
    input:
        run_files("voc_test.tar.gz"),


rule ablation:
    input:
        f"{ABLATION}/table.tsv",
        f"{ABLATION}/curves.png",
        f"{ABLATION}/panels.png",
        # A table of ready CAMs alone has no classifier whose settings could be swept, or that could paint.
        [f"{ABLATION}/{name}.png" for name in ("sweeps", "reconstructions") if any(CLASSIFIERS.values())],


onstart:
    shared = {
        stage: owner(config["experiment"], stage)
        for stage in made(config["experiment"])
        if not STAGES[stage].shared
    }
    for name in dict.fromkeys(shared.values()):
        if name != config["experiment"]:
            stages = ", ".join(stage for stage, maker in shared.items() if maker == name)
            print(f"In {RESULTS}/{name}/, since experiment {name} has the same settings for them: {stages}.")
    run = resolved(config["experiment"])
    needed = [*workflow.dag.needrun_jobs()]
    fetched = [job for job in needed if job.rule.name == "download_weights"]
    cached = "download_weights" in (workflow.workflow_settings.cache or ())
    try:
        if SharedFSUsage.INPUT_OUTPUT not in workflow.storage_settings.shared_fs_usage:
            check_seen_everywhere(config["dataset"])
        check_starts(needed)
        if not cached:
            check_downloads({job.wildcards.network: job.output[0] for job in fetched})
        # Without an index yet, or anew after a part of it was damaged, its rule looks whether there is room.
        if Path(INDEX).exists() and Path(CLASSES).exists():
            for file in (INDEX, CLASSES):
                check_file(file)
            index, cores, waiting = read_index(INDEX), workflow.cores or 1, Counter(job.rule.name for job in needed)
            if not waiting["index"]:  # which looks at the new index itself
                check_asked(index, run)
            print(check_room(index, run, RESULTS, owners=shared, cores=cores))
            if seconds := expected_seconds(RESULTS, index, run, cores=cores, jobs=waiting):
                print(f"What is to be made takes about {told_time(seconds)}, going by the last run.")
        elif experiments.foreign_networks(run):
            check_networks(run)
    except InputError as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    files = [Path(file) for file in run_files("summary.txt", "verdict.json", "report.html", "preview.html")]
    new = {file.name: file for file in files if file.exists() and file.stat().st_mtime > STARTED}
    if summary := new.get("summary.txt"):
        print(f"\n{summary.read_text()}")
        print(f"More in {summary.parent}/: metrics.tsv, costs.tsv, figures/, manifest.json")
    if verdict := new.get("verdict.json"):
        print(f"\n{as_lines(read_json(verdict))}")
    for name in ("report.html", "preview.html"):
        if page := new.get(name):
            print(f"Open in a browser: {page}")
    if verdict:
        network = experiments.ready(resolved(config["experiment"]), "segmentation") or of_owner(
            config["experiment"], "segmentation", rules.train_segmentation.output.weights
        )
        print(f"Masks of other photos: ssc predict --weights {network} photo.jpg --out masks")
