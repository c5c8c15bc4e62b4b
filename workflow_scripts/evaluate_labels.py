from ssc.stages.evaluate import summarise_labels
from ssc.workflow.job import job

with job(snakemake):
    summarise_labels(
        index=snakemake.input.index,
        split=snakemake.params.split,
        stage=snakemake.params.stage,
        shards=snakemake.input.shards,
        output=snakemake.output.figures,
        images=snakemake.output.images,
        regions=snakemake.output.regions,
        chosen_by_masks=snakemake.params.get("chosen_by_masks"),
        steps=snakemake.params.get("steps", []),
    )
