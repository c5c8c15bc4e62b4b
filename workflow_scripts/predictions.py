from ssc.stages.predictions import write_predictions
from ssc.workflow.job import job
from ssc.workflow.settings import Prediction

with job(snakemake):
    write_predictions(
        index=snakemake.input.index,
        split=snakemake.wildcards.split,
        shard=snakemake.wildcards.shard,
        weights=snakemake.input.weights,
        output=snakemake.output.labels,
        steps=snakemake.output.steps,
        settings=Prediction(**snakemake.params.settings),
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
