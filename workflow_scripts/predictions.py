from ssc.prediction import write_predictions
from ssc.progress import logged

with logged(snakemake.log[0]):
    write_predictions(
        index=snakemake.input.index,
        split=snakemake.wildcards.split,
        shard=snakemake.wildcards.shard,
        weights=snakemake.input.weights,
        output=snakemake.output.labels,
        steps=snakemake.output.steps,
        settings=snakemake.params.settings,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
