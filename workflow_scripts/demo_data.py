from ssc.data.demo import generate
from ssc.workflow.job import job

with job(snakemake):
    generate(snakemake.output.folder, **snakemake.params.settings, threads=snakemake.threads)
