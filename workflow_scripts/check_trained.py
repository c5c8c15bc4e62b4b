from ssc.workflow.job import job
from ssc.stages.check_weights import write_facts

with job(snakemake):
    write_facts(
        snakemake.input.weights,
        stage=snakemake.wildcards.stage,
        classes=snakemake.input.classes,
        output=snakemake.output[0],
    )
