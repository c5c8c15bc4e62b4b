from ssc.job import job
from ssc.manifest import write_manifest

with job(snakemake):
    write_manifest(
        snakemake.output[0],
        config=snakemake.params.config,
        experiment=snakemake.wildcards.experiment,
        files=dict(snakemake.input.items()),
    )
