from ssc.progress import logged
from ssc.voc_server import write_voc_archive

with logged(snakemake.log[0]):
    write_voc_archive(
        index=snakemake.input.index,
        predictions=snakemake.input.predictions,
        output=snakemake.output[0],
    )
