from ssc.job import job
from ssc.unpack import unpack

with job(snakemake):
    unpack(snakemake.input[0], snakemake.output[0])
