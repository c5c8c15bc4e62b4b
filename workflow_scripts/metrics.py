from ssc.report.metrics_table import write_metrics
from ssc.workflow.job import job

with job(snakemake):
    write_metrics(
        metrics=snakemake.params.stages,
        index=snakemake.input.index,
        benchmarks=snakemake.params.benchmarks,
        table=snakemake.output.table,
        costs_table=snakemake.output.costs,
        text=snakemake.output.text,
    )
