from ssc.workflow.job import job
from ssc.workflow.manifest import write_manifest

with job(snakemake):
    write_manifest(
        snakemake.output[0],
        config=snakemake.params.config,
        experiment=snakemake.wildcards.experiment,
        files=dict(snakemake.input.items()),
    )
