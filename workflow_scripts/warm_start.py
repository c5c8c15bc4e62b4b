from ssc.training.classifier import train_classifier
from ssc.training.launch import launch
from ssc.workflow.job import job
from ssc.workflow.settings import Classifier
from ssc.workflow.work import rest_of_run

with job(snakemake):
    launch(
        train_classifier,
        snakemake,
        seed=int(snakemake.wildcards.seed),
        rest=rest_of_run(snakemake, "warm_start"),
        index=snakemake.input.index,
        superpixels=[],
        initial=None,
        loss_weights=None,
        settings=Classifier(**snakemake.params.settings),
    )
