from ssc.stages.seeds import score_images
from ssc.workflow.job import job
from ssc.workflow.settings import Seeds

with job(snakemake):
    score_images(
        index=snakemake.input.index,
        cams=snakemake.input.cams,
        masks=snakemake.input.masks,
        output=snakemake.output[0],
        settings=Seeds(**snakemake.params.settings),
        cam_threshold=snakemake.input.cam_threshold or None,
    )
