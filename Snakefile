# Weakly supervised semantic segmentation with spatial structure constraints: image-level labels in, a segmentation
# network out. `snakemake --cores all` runs config.yaml, the demo; `--configfile config/<data set>.yaml` another data set.

from pathlib import Path

from snakemake.utils import min_version

min_version("9.5")


# The paper's ablations are known on every data set. A configuration that names its data set stands for itself; anything
# else is laid over the demo's.
configfile: str(Path(workflow.basedir) / "config" / "experiments.yaml")


if "kind" not in (config.get("dataset") or {}):

    configfile: str(Path(workflow.basedir) / "config.yaml")


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/reported.smk"
include: "rules/download.smk"
include: "rules/data.smk"
include: "rules/superpixels.smk"
include: "rules/weights.smk"
include: "rules/classifier.smk"
include: "rules/cams.smk"
include: "rules/irn.smk"
include: "rules/pseudo_labels.smk"
include: "rules/segmentation.smk"
include: "rules/report.smk"
include: "rules/ablation.smk"


localrules:
    all,
    seeds,
    pseudo_labels,
    segmentation,
    ablation,
    test_archive,


rule all:
    default_target: True
    input:
        run_files("metrics.tsv", "comparison.tsv", "manifest.json", *FIGURES),


rule seeds:
    input:
        made(config["experiment"], "seeds", "seeds.json"),


rule pseudo_labels:
    input:
        made(config["experiment"], "pseudo_labels", "pseudo_labels.json"),


rule segmentation:
    input:
        made(config["experiment"], "predictions", "segmentation.json"),


rule test_archive:
    input:
        run_files("voc_test.tar.gz"),


rule ablation:
    input:
        f"{ABLATION}/table.tsv",
        f"{ABLATION}/sweeps.png",
        f"{ABLATION}/curves.png",
        f"{ABLATION}/panels.png",
        f"{ABLATION}/reconstructions.png",
        f"{ABLATION}/memory.tsv",


onstart:
    check_run_fits()


onsuccess:
    print_summary()
