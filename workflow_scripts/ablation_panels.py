from ssc.panels import write_ablation_panels
from ssc.progress import logged

with logged(snakemake.log[0]):
    write_ablation_panels(
        index=snakemake.input.index,
        cams=snakemake.params.cams,
        masks=snakemake.input.masks,
        scores=snakemake.input.scores,
        output=snakemake.output[0],
        panels=snakemake.params.panels,
    )
