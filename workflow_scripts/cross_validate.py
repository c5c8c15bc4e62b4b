from ssc.stages.cross_validation import cross_validate
from ssc.workflow.job import job
from ssc.workflow.settings import Classifier

config, params = snakemake.config, snakemake.params
with job(snakemake):
    cross_validate(
        val=snakemake.input.val,
        index=snakemake.input.index,
        superpixels=snakemake.input.superpixels,
        initial=snakemake.input.initial or None,
        loss_weights=snakemake.input.loss_weights or None,
        settings=Classifier(**params.settings),
        output=snakemake.output.scores,
        readers=snakemake.threads,
        seed=params.seed,
        precision=params.precision,
        threads=params.threads,
        **{key: config[key] for key in ("device", "workers", "compile", "memory")},
    )
