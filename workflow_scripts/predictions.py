from ssc.workflow.job import job
from ssc.prediction import write_predictions

with job(snakemake):
    write_predictions(
        index=snakemake.input.index,
        split=snakemake.wildcards.split,
        shard=snakemake.wildcards.shard,
        weights=snakemake.input.weights,
        output=snakemake.output.labels,
        steps=snakemake.output.steps,
        settings=snakemake.params.settings,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
