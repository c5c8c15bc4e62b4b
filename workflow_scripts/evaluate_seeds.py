from ssc.stages.seeds import summarise_seeds
from ssc.workflow.job import job
from ssc.workflow.settings import Seeds

with job(snakemake):
    summarise_seeds(
        index=snakemake.input.index,
        shards=snakemake.input.shards,
        output=snakemake.output.figures,
        settings=Seeds(**snakemake.params.settings),
        cam_threshold=snakemake.input.cam_threshold or None,
    )
