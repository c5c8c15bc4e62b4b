from ssc.stages.ready_files import import_cams
from ssc.workflow.job import job
from ssc.workflow.settings import CAMs

with job(snakemake):
    import_cams(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        folder=snakemake.params.folder,
        settings=CAMs(**snakemake.params.settings),
        output=snakemake.output.archive,
    )
