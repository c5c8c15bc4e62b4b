from ssc.stages.seeds import score_images
from ssc.workflow.job import job

with job(snakemake):
    score_images(
        index=snakemake.input.index,
        cams=snakemake.input.cams,
        masks=snakemake.input.masks,
        output=snakemake.output[0],
        threshold=snakemake.params.threshold,
    )
