from ssc.workflow.job import job
from ssc.training.classifier import train_classifier
from ssc.training.launch import launch

with job(snakemake):
    launch(
        train_classifier,
        processes=max(1, snakemake.resources.gpu),
        log_path=snakemake.log[0],
        index=snakemake.input.index,
        superpixels=[],
        initial=None,
        loss_weights=None,
        output=snakemake.output.weights,
        history=snakemake.output.history,
        settings=snakemake.params.settings,
        seed=int(snakemake.wildcards.seed),
        device=snakemake.config["device"],
        precision=snakemake.params.precision,
        memory=snakemake.config["memory"],
        compile=snakemake.config["compile"],
        workers=snakemake.config["workers"],
        threads=snakemake.params.threads,
    )
