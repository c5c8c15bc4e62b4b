from ssc.report.panels import write_panels, write_val_panels
from ssc.workflow.job import job
from ssc.workflow.settings import Prediction

files, params = snakemake.input, snakemake.params
prediction = Prediction(**params.prediction)
with job(snakemake):
    write_panels(
        archives={name: files[name] for name in ("superpixels", "cams", "pseudo_labels")},
        weights={name: files[name] for name in ("classifier", "irn", "segmentation")},
        prediction=prediction,
        edges=params.edges,
        device=snakemake.config["device"],
        index=files.index,
        split="train",
        masks=files.masks,
        scores=files.scores or None,
        panels=params.panels,
        output=snakemake.output.panels,
    )
    write_val_panels(
        index=files.index,
        split=prediction.split,
        predictions=files.predictions,
        masks=files.prediction_masks,
        scores=files.prediction_scores,
        panels=params.panels,
        output=snakemake.output.predictions,
    )
