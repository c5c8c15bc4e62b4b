from ssc.evaluation import evaluate_archives
from ssc.progress import logged

with logged(snakemake.log[0]):
    evaluate_archives(
        index=snakemake.input.index,
        split=snakemake.params.split,
        stage=snakemake.params.stage,
        labels=snakemake.input.labels,
        masks=snakemake.input.masks,
        output=snakemake.output.figures,
        images=snakemake.output.images,
        steps=snakemake.params.get("steps", []),
        step_labels=snakemake.input.get("steps", []),
    )
