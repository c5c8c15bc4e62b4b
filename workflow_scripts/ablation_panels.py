from ssc.report.panels import write_ablation_panels
from ssc.workflow.job import job

with job(snakemake):
    write_ablation_panels(
        index=snakemake.input.index,
        cams=snakemake.params.cams,
        masks=snakemake.input.masks,
        split="train",
        scores=snakemake.input.scores,
        output=snakemake.output[0],
        panels=snakemake.params.panels,
    )
