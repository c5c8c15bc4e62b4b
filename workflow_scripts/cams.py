from ssc.stages.cams import write_cams
from ssc.workflow.job import job
from ssc.workflow.settings import CAMs

with job(snakemake):
    write_cams(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        weights=snakemake.input.weights,
        superpixels=snakemake.input.superpixels or None,
        output=snakemake.output.archive,
        settings=CAMs(**snakemake.params.settings),
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
