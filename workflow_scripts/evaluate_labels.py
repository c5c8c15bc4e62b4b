from ssc.evaluation import summarise_labels
from ssc.progress import logged

with logged(snakemake.log[0]):
    summarise_labels(
        index=snakemake.input.index,
        split=snakemake.params.split,
        stage=snakemake.params.stage,
        shards=snakemake.input.shards,
        output=snakemake.output.figures,
        images=snakemake.output.images,
        steps=snakemake.params.get("steps", []),
    )
