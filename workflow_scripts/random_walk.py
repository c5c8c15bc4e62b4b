from ssc.stages.pseudo_labels import write_pseudo_labels
from ssc.workflow.job import job
from ssc.workflow.settings import PseudoLabels

with job(snakemake):
    write_pseudo_labels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        weights=snakemake.input.weights,
        output=snakemake.output.labels,
        confidence=snakemake.output.confidence,
        settings=PseudoLabels(**snakemake.params.settings),
        cam_threshold=snakemake.input.cam_threshold or None,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
