from ssc.progress import logged
from ssc.superpixels import write_superpixels

with logged(snakemake.log[0]):
    write_superpixels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        output=snakemake.output[0],
        settings=snakemake.params.settings,
        threads=snakemake.threads,
    )
