from ssc.workflow.job import job
from ssc.training.launch import launch
from ssc.training.segmentation import train_segmentation

with job(snakemake):
    launch(
        train_segmentation,
        processes=max(1, snakemake.resources.gpu),
        log_path=snakemake.log[0],
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
        compile=snakemake.config["compile"],
        workers=snakemake.config["workers"],
        threads=snakemake.params.threads,
    )
