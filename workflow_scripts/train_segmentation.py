from ssc.training.launch import launch
from ssc.training.segmentation import train_segmentation
from ssc.workflow.job import job
from ssc.workflow.settings import Segmentation
from ssc.workflow.work import rest_of_run

with job(snakemake):
    launch(
        train_segmentation,
        snakemake,
        seed=snakemake.params.seed,
        rest=rest_of_run(snakemake, "segmentation"),
        index=snakemake.input.index,
        pseudo_labels=snakemake.input.pseudo_labels,
        confidence=snakemake.input.confidence,
        initial=snakemake.input.initial or None,
        val_index=snakemake.input.val_index or None,
        val_masks=snakemake.input.val_masks,
        settings=Segmentation(**snakemake.params.settings),
    )
