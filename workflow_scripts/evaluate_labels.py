from ssc.evaluation import summarise_labels
from ssc.job import job

with job(snakemake):
    summarise_labels(
        index=snakemake.input.index,
        split=snakemake.params.split,
        stage=snakemake.params.stage,
        shards=snakemake.input.shards,
        output=snakemake.output.figures,
        images=snakemake.output.images,
        steps=snakemake.params.get("steps", []),
    )
