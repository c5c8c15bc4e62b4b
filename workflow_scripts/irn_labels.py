from ssc.stages.irn_labels import write_irn_labels
from ssc.workflow.job import job

with job(snakemake):
    write_irn_labels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        output=snakemake.output[0],
        settings=snakemake.params.settings,
        threads=snakemake.threads,
    )
