from ssc.training.irn import train_irn
from ssc.training.launch import launch
from ssc.workflow.job import job
from ssc.workflow.settings import IRN
from ssc.workflow.work import rest_of_run

with job(snakemake):
    launch(
        train_irn,
        snakemake,
        seed=snakemake.params.seed,
        rest=rest_of_run(snakemake, "irn"),
        index=snakemake.input.index,
        labels=snakemake.input.labels,
        initial=snakemake.input.initial or None,
        settings=IRN(**snakemake.params.settings),
    )
