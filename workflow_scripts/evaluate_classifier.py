from ssc.stages.classifier_scores import evaluate_classifier
from ssc.workflow.job import job

with job(snakemake):
    evaluate_classifier(
        index=snakemake.input.index,
        split="val",
        weights=snakemake.input.weights,
        output=snakemake.output[0],
        drs=snakemake.params.drs,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
