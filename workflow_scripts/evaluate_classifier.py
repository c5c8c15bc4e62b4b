from ssc.stages.classifier_scores import evaluate_classifier
from ssc.workflow.job import job

with job(snakemake):
    evaluate_classifier(
        indices=[snakemake.input.val, snakemake.input.train],
        weights=snakemake.input.weights,
        output=snakemake.output.scores,
        drs=snakemake.params.drs,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
