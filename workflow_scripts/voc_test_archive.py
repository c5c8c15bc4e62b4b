from ssc.stages.voc_test_archive import write_voc_archive
from ssc.workflow.job import job

with job(snakemake):
    write_voc_archive(
        index=snakemake.input.index,
        predictions=snakemake.input.predictions,
        output=snakemake.output[0],
    )
