from ssc.progress import logged
from ssc.trained import write_facts

with logged(snakemake.log[0]):
    write_facts(
        snakemake.input.weights,
        stage=snakemake.wildcards.stage,
        classes=snakemake.input.classes,
        output=snakemake.output[0],
    )
