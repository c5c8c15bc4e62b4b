from ssc.report.panels import write_panels, write_val_panels
from ssc.workflow.job import job

with job(snakemake):
    write_panels(
        index=snakemake.input.index,
        superpixels=snakemake.input.superpixels,
        cams=snakemake.input.cams,
        classifier=snakemake.input.classifier or None,
        irn=snakemake.input.irn or None,
        pseudo_labels=snakemake.input.pseudo_labels,
        segmentation=snakemake.input.segmentation,
        masks=snakemake.input.masks,
        scores=snakemake.input.scores or None,
        output=snakemake.output.panels,
        panels=snakemake.params.panels,
        prediction=snakemake.params.prediction,
        edge_scale=snakemake.params.edge_scale,
        device=snakemake.config["device"],
    )
    write_val_panels(
        index=snakemake.input.index,
        split=snakemake.params.prediction["split"],
        predictions=snakemake.input.predictions,
        masks=snakemake.input.prediction_masks,
        scores=snakemake.input.prediction_scores,
        output=snakemake.output.predictions,
        panels=snakemake.params.panels,
    )
