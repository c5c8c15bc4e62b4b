from ssc.workflow.job import job
from benchmarks.memory import write_memory

with job(snakemake):
    write_memory(
        classes=snakemake.input.classes,
        output=snakemake.output.table,
        settings=snakemake.params.settings,
        max_regions=snakemake.params.max_regions,
        precision=snakemake.params.precision,
    )
