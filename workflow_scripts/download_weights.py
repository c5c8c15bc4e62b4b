from ssc.workflow.job import job
from ssc.stages.download_weights import download_imagenet

with job(snakemake):
    download_imagenet(snakemake.wildcards.network, snakemake.output[0])
