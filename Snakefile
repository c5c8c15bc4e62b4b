# Weakly supervised semantic segmentation with spatial structure constraints: image-level labels in, a segmentation
# network out. `snakemake --cores all` runs config.yaml, the demo; `--configfile config/<data set>.yaml` another data set.

from pathlib import Path

from snakemake.utils import min_version

min_version("9.5")

# A configuration that names its data set stands for itself; anything else is laid over the demo's.
if "kind" not in (config.get("dataset") or {}):

    configfile: str(Path(workflow.basedir) / "config.yaml")


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/superpixels.smk"
include: "rules/weights.smk"
include: "rules/classifier.smk"
include: "rules/cams.smk"
include: "rules/irn.smk"
include: "rules/pseudo_labels.smk"
include: "rules/segmentation.smk"
include: "rules/report.smk"


localrules:
    all,
    seeds,
    pseudo_labels,
    segmentation,


rule all:
    default_target: True
    input:
        run_files("metrics.tsv", "manifest.json", *FIGURES),


rule seeds:
    input:
        run_files("seeds.json"),


rule pseudo_labels:
    input:
        run_files("pseudo_labels.json"),


rule segmentation:
    input:
        run_files("segmentation.json"),


onsuccess:
    print_summary()
