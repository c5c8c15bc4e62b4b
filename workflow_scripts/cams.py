from ssc.cams import extract_cams
from ssc.stages.ready_files import import_cams
from ssc.workflow.job import job

files = {
    "index": snakemake.input.index,
    "shard": snakemake.wildcards.shard,
    "output": snakemake.output[0],
}
settings = snakemake.params.settings
with job(snakemake):
    if settings["folder"]:
        import_cams(**files, folder=settings["folder"])
    else:
        extract_cams(
            **files,
            weights=snakemake.input.weights,
            superpixels=snakemake.input.superpixels or None,
            settings=settings,
            device=snakemake.config["device"],
            precision=snakemake.params.precision,
            threads=snakemake.threads,
        )
