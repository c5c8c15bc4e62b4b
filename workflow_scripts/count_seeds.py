from ssc.stages.seeds import count_seeds
from ssc.workflow.job import job

with job(snakemake):
    count_seeds(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        masks=snakemake.input.masks,
        output=snakemake.output.counts,
        thresholds=snakemake.params.thresholds,
    )
