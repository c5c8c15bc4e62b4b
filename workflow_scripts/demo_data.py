from ssc.data.demo import generate
from ssc.workflow.job import job

with job(snakemake):
    generate(
        snakemake.output[0],
        train=snakemake.params.train,
        val=snakemake.params.val,
        size=snakemake.params.size,
        seed=snakemake.params.seed,
    )
