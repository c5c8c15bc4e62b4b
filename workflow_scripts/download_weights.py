from ssc.stages.download_weights import download_imagenet
from ssc.workflow.job import job

with job(snakemake):
    download_imagenet(snakemake.wildcards.network, snakemake.output[0])
