from ssc.stages.ready_files import import_pseudo_labels
from ssc.workflow.job import job
from ssc.pseudo_labels import write_pseudo_labels

files = {
    "index": snakemake.input.index,
    "shard": snakemake.wildcards.shard,
    "output": snakemake.output.labels,
    "confidence": snakemake.output.confidence,
}
settings = snakemake.params.settings
with job(snakemake):
    if settings["folder"]:
        import_pseudo_labels(**files, folder=settings["folder"])
    else:
        write_pseudo_labels(
            **files,
            cams=snakemake.input.cams,
            weights=snakemake.input.weights,
            settings=settings,
            device=snakemake.config["device"],
            precision=snakemake.params.precision,
            threads=snakemake.threads,
        )
