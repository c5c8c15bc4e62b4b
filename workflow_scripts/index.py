from ssc.data.build import build_index
from ssc.data.index import write_index
from ssc.progress import logged

with logged(snakemake.log[0]):
    write_index(
        snakemake.output.index,
        build_index(snakemake.params.dataset),
        needed=snakemake.config["prediction"]["split"],
    )
