from ssc.report.page import write_page
from ssc.workflow.job import job

files = snakemake.input
figures = {name: file for name, file in files.items() if name in ("seeds", "losses", "panels")}
with job(snakemake):
    write_page(
        index=files.index,
        archives={name: files[name] for name in ("superpixels", "cams", "pseudo_labels", "predictions")},
        predicted=snakemake.params.predicted,
        dataset=snakemake.params.dataset,
        experiment=snakemake.wildcards.experiment,
        page=snakemake.output.page,
        thumbnails=snakemake.output.thumbnails,
        verdict=files.verdict,
        metrics=files.metrics,
        comparison=files.comparison,
        costs=files.costs,
        figures=figures,
        threads=snakemake.threads,
    )
