from ssc.data.releases import archive_url
from ssc.runtime.download import download
from ssc.workflow.job import job

with job(snakemake):
    download(
        archive_url(snakemake.wildcards.release, mirror=snakemake.config["dataset"]["mirror"]),
        snakemake.output[0],
        checksum=snakemake.params.checksum,
        hint="run again to go on, set dataset.mirror, or name the folders of your own copy under dataset",
    )
