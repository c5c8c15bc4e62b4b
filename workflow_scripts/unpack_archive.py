from ssc.progress import logged
from ssc.unpack import unpack

with logged(snakemake.log[0]):
    unpack(snakemake.input[0], snakemake.output[0])
