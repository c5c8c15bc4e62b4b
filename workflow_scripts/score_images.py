from ssc.workflow.job import job
from ssc.stages.seeds import score_images

with job(snakemake):
    score_images(
        index=snakemake.input.index,
        cams=snakemake.input.cams,
        masks=snakemake.input.masks,
        output=snakemake.output[0],
        threshold=snakemake.params.threshold,
    )
