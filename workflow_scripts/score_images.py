from ssc.progress import logged
from ssc.seeds import score_images

with logged(snakemake.log[0]):
    score_images(
        index=snakemake.input.index,
        cams=snakemake.input.cams,
        masks=snakemake.input.masks,
        output=snakemake.output[0],
        threshold=snakemake.params.threshold,
    )
