from ssc.progress import logged
from ssc.pseudo_labels import write_pseudo_labels

with logged(snakemake.log[0]):
    write_pseudo_labels(
        index=snakemake.input.index,
        shard=snakemake.wildcards.shard,
        cams=snakemake.input.cams,
        weights=snakemake.input.weights,
        output=snakemake.output.labels,
        confidence=snakemake.output.confidence,
        settings=snakemake.params.settings,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
    )
