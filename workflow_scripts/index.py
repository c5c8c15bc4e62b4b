from ssc.stages.index import make_index
from ssc.workflow.job import job

with job(snakemake):
    make_index(
        config=snakemake.config,
        dataset=snakemake.params.dataset,
        output=snakemake.output.index,
        photos=snakemake.output.get("photos"),
        code=snakemake.params.source,
    )
