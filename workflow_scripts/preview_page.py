from ssc.report.page import write_page
from ssc.workflow.job import job

files = snakemake.input
with job(snakemake):
    write_page(
        index=files.index,
        archives={"superpixels": files.superpixels, "cams": files.cams, **snakemake.params.later},
        predicted=snakemake.params.predicted,
        dataset=snakemake.params.dataset,
        experiment=snakemake.wildcards.experiment,
        page=snakemake.output.page,
        thumbnails=snakemake.output.thumbnails,
        threads=snakemake.threads,
    )
