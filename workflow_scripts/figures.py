from ssc.data.index import read_classes
from ssc.figures import plot_class_iou, plot_losses, plot_threshold_curve
from ssc.progress import logged

with logged(snakemake.log[0]):
    plot_threshold_curve(snakemake.input.seeds, snakemake.output.seeds)
    stages = {
        "seeds (train)": snakemake.input.seeds,
        "pseudo-labels (train)": snakemake.input.pseudo_labels,
        "segmentation": snakemake.input.segmentation,
    }
    plot_class_iou(stages, read_classes(snakemake.input.classes), snakemake.output.class_iou)
    trainings = {
        "classifier": snakemake.input.classifier,
        "IRN": snakemake.input.irn,
        "segmentation": snakemake.input.segmentation_losses,
    }
    plot_losses(trainings, snakemake.output.losses)
