from ssc.stages.superpixels import write_superpixels
from ssc.workflow.job import job
from ssc.workflow.settings import Superpixels

with job(snakemake):
    write_superpixels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        output=snakemake.output.archive,
        settings=Superpixels(**snakemake.params.settings),
        threads=snakemake.threads,
    )
