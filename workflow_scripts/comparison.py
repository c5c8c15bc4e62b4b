from ssc.report.comparison import write_comparison
from ssc.workflow.job import job

trained = {"classifier": snakemake.input.classifier, "segmentation": snakemake.input.segmentation}
with job(snakemake):
    write_comparison(
        figures=snakemake.params.stages,
        dataset=snakemake.params.dataset,
        kind=snakemake.params.kind,
        backbones=snakemake.params.networks,
        trained={stage: facts for stage, facts in trained.items() if facts},
        table=snakemake.output.table,
        markdown=snakemake.output.markdown,
    )
