from ssc.job import job
from ssc.trained import write_facts

with job(snakemake):
    write_facts(
        snakemake.input.weights,
        stage=snakemake.wildcards.stage,
        classes=snakemake.input.classes,
        output=snakemake.output[0],
    )
