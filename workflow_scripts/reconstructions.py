from ssc.report.panels import write_reconstructions
from ssc.workflow.job import job

with job(snakemake):
    write_reconstructions(
        index=snakemake.input.index,
        classifiers=snakemake.params.classifiers,
        masks=snakemake.input.masks,
        split="train",
        scores=snakemake.input.scores,
        output=snakemake.output[0],
        panels=snakemake.params.panels,
        device=snakemake.config["device"],
    )
