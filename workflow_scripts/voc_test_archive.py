from ssc.job import job
from ssc.voc_server import write_voc_archive

with job(snakemake):
    write_voc_archive(
        index=snakemake.input.index,
        predictions=snakemake.input.predictions,
        output=snakemake.output[0],
    )
