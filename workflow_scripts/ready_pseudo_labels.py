from ssc.stages.ready_files import import_pseudo_labels
from ssc.workflow.job import job

with job(snakemake):
    import_pseudo_labels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        folder=snakemake.params.folder,
        output=snakemake.output.labels,
        confidence=snakemake.output.confidence,
    )
