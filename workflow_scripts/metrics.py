from ssc.progress import logged
from ssc.report import write_metrics

with logged(snakemake.log[0]):
    write_metrics(
        metrics=snakemake.params.stages,
        index=snakemake.input.index,
        benchmarks=snakemake.params.benchmarks,
        table=snakemake.output.table,
        costs_table=snakemake.output.costs,
        text=snakemake.output.text,
    )
