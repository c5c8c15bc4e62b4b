from ssc.stages.seeds import summarise_seeds
from ssc.workflow.job import job

with job(snakemake):
    summarise_seeds(
        index=snakemake.input.index,
        shards=snakemake.input.shards,
        output=snakemake.output.figures,
        regions=snakemake.output.regions,
    )
