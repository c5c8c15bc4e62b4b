from ssc.stages.ready_files import import_superpixels
from ssc.workflow.job import job
from ssc.superpixels import write_superpixels

files = {
    "index": snakemake.input.index,
    "shard": snakemake.wildcards.shard,
    "output": snakemake.output[0],
}
settings = snakemake.params.settings
with job(snakemake):
    if settings["folder"]:
        import_superpixels(**files, folder=settings["folder"])
    else:
        write_superpixels(**files, settings=settings, threads=snakemake.threads)
