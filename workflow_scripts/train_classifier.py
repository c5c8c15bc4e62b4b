from ssc.training.classifier import train_classifier
from ssc.training.launch import launch
from ssc.workflow.job import job
from ssc.workflow.settings import Classifier
from ssc.workflow.work import rest_of_run

with job(snakemake):
    launch(
        train_classifier,
        snakemake,
        seed=snakemake.params.seed,
        rest=rest_of_run(snakemake, "classifier"),
        index=snakemake.input.index,
        superpixels=snakemake.input.superpixels,
        initial=snakemake.input.initial or None,
        loss_weights=snakemake.input.loss_weights or None,
        settings=Classifier(**snakemake.params.settings),
    )
