from ssc.progress import logged
from ssc.training.irn import train_irn

with logged(snakemake.log[0]):
    train_irn(
        index=snakemake.input.index,
        labels=snakemake.input.labels,
        initial=snakemake.input.initial or None,
        output=snakemake.output.weights,
        history=snakemake.output.history,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        workers=snakemake.config["workers"],
    )
