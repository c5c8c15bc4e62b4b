from ssc.data.index import read_classes
from ssc.report.curves import plot_class_iou, plot_losses, plot_threshold_curve
from ssc.workflow.job import job

stages = snakemake.params.stages
with job(snakemake):
    plot_threshold_curve(stages.get("seeds"), snakemake.output.seeds)
    plot_class_iou(stages, read_classes(snakemake.input.classes), snakemake.output.class_iou)
    plot_losses(snakemake.params.trainings, snakemake.output.losses)
