from ssc.progress import logged
from ssc.weights import download_imagenet

with logged(snakemake.log[0]):
    download_imagenet(snakemake.wildcards.network, snakemake.output[0])
