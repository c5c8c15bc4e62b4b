from ssc.workflow.job import job
from ssc.seeds import summarise_seeds

with job(snakemake):
    summarise_seeds(
        index=snakemake.input.index,
        shards=snakemake.input.shards,
        output=snakemake.output[0],
        threshold=snakemake.params.threshold,
    )
