from ssc.progress import logged
from ssc.report import write_metrics

with logged(snakemake.log[0]):
    write_metrics(
        metrics=snakemake.params.stages,
        classes=snakemake.input.classes,
        benchmarks=snakemake.params.benchmarks,
        table=snakemake.output.table,
        text=snakemake.output.text,
    )
