from ssc.runtime.unpack import unpack
from ssc.workflow.job import job

with job(snakemake):
    unpack(snakemake.input[0], snakemake.output[0])
