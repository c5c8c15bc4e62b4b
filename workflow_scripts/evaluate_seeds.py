from ssc.progress import logged
from ssc.seeds import summarise_seeds

with logged(snakemake.log[0]):
    summarise_seeds(
        index=snakemake.input.index,
        shards=snakemake.input.shards,
        output=snakemake.output[0],
        threshold=snakemake.params.threshold,
    )
