from ssc.training.irn import train_irn
from ssc.training.launch import launch
from ssc.workflow.job import job
from ssc.workflow.settings import IRN

with job(snakemake):
    launch(
        train_irn,
        snakemake,
        seed=snakemake.params.seed,
        index=snakemake.input.index,
        labels=snakemake.input.labels,
        initial=snakemake.input.initial or None,
        settings=IRN(**snakemake.params.settings),
    )
