from ssc.progress import logged
from ssc.training.segmentation import train_segmentation

with logged(snakemake.log[0]):
    train_segmentation(
        index=snakemake.input.index,
        pseudo_labels=snakemake.input.pseudo_labels,
        confidence=snakemake.input.confidence,
        initial=snakemake.input.initial or None,
        output=snakemake.output.weights,
        history=snakemake.output.history,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        workers=snakemake.config["workers"],
    )
