from ssc.stages.cam_labels import write_cam_labels
from ssc.workflow.job import job
from ssc.workflow.settings import PseudoLabels

with job(snakemake):
    write_cam_labels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        output=snakemake.output.labels,
        confidence=snakemake.output.confidence,
        settings=PseudoLabels(**snakemake.params.settings),
        cam_threshold=snakemake.input.cam_threshold or None,
        threads=snakemake.threads,
    )
