from ssc.stages.evaluate import count_labels
from ssc.workflow.job import job

with job(snakemake):
    count_labels(
        index=snakemake.input.index,
        split=snakemake.params.split,
        shard=snakemake.wildcards.shard,
        stage=snakemake.params.stage,
        labels=snakemake.input.labels,
        masks=snakemake.input.masks,
        output=snakemake.output.counts,
        steps=snakemake.params.get("steps", []),
        step_labels=snakemake.input.get("steps"),
    )
