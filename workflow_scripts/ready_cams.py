from ssc.stages.ready_files import import_cams
from ssc.workflow.job import job

with job(snakemake):
    import_cams(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        folder=snakemake.params.folder,
        output=snakemake.output.archive,
    )
