from ssc.progress import logged
from ssc.provenance import write_manifest

with logged(snakemake.log[0]):
    write_manifest(
        snakemake.output[0],
        config=snakemake.params.config,
        experiment=snakemake.wildcards.experiment,
    )
