from ssc.workflow.job import job
from ssc.runtime.unpack import unpack

with job(snakemake):
    unpack(snakemake.input[0], snakemake.output[0])
