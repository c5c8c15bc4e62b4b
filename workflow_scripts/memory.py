from ssc.memory import write_memory
from ssc.progress import logged

with logged(snakemake.log[0]):
    write_memory(
        classes=snakemake.input.classes,
        output=snakemake.output.table,
        settings=snakemake.params.settings,
        max_regions=snakemake.params.max_regions,
        precision=snakemake.params.precision,
    )
