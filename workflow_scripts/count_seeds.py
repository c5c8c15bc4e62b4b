from ssc.progress import logged
from ssc.seeds import count_seeds

with logged(snakemake.log[0]):
    count_seeds(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        masks=snakemake.input.masks,
        output=snakemake.output[0],
        thresholds=snakemake.params.thresholds,
    )
