from ssc.stages.ready_files import import_superpixels
from ssc.workflow.job import job

with job(snakemake):
    import_superpixels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        folder=snakemake.params.folder,
        output=snakemake.output.archive,
    )
