from ssc.stages.check_weights import write_facts
from ssc.workflow.job import job

with job(snakemake):
    write_facts(
        snakemake.input.weights,
        stage=snakemake.wildcards.stage,
        classes=snakemake.input.classes,
        output=snakemake.output.facts,
    )
