from ssc.stages.seeds import count_seeds
from ssc.workflow.job import job
from ssc.workflow.settings import Seeds

with job(snakemake):
    count_seeds(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        masks=snakemake.input.masks,
        output=snakemake.output.counts,
        settings=Seeds(**snakemake.params.settings),
        cam_threshold=snakemake.input.cam_threshold or None,
    )
