from ssc.intermediate import import_pseudo_labels
from ssc.progress import logged
from ssc.pseudo_labels import write_pseudo_labels

files = {
    "index": snakemake.input.index,
    "shard": snakemake.wildcards.shard,
    "output": snakemake.output.labels,
    "confidence": snakemake.output.confidence,
}
settings = snakemake.params.settings
with logged(snakemake.log[0]):
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
