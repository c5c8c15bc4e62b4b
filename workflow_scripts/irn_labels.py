from ssc.stages.irn_labels import write_irn_labels
from ssc.workflow.job import job
from ssc.workflow.settings import IRNLabels

with job(snakemake):
    write_irn_labels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        output=snakemake.output.archive,
        settings=IRNLabels(**snakemake.params.settings),
        cam_threshold=snakemake.input.cam_threshold or None,
        threads=snakemake.threads,
    )
