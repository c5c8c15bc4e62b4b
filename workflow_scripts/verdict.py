from ssc.report.evidence import write_verdict
from ssc.workflow.job import job

files = snakemake.input
with job(snakemake):
    write_verdict(
        index=files.index,
        split=snakemake.params.split,
        cross_validation=files.cross_validation or None,
        scores=files.scores or None,
        cams=files.cams,
        pseudo_labels=files.pseudo_labels,
        predictions=files.predictions,
        pretrained=snakemake.params.pretrained,
        output=snakemake.output[0],
    )
