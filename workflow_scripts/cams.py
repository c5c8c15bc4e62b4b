from ssc.cams import extract_cams
from ssc.progress import logged

with logged(snakemake.log[0]):
    extract_cams(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        weights=snakemake.input.weights,
        output=snakemake.output[0],
        settings=snakemake.params.settings,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
    )
