from ssc.comparison import write_comparison
from ssc.progress import logged

trained = {"classifier": snakemake.input.classifier, "segmentation": snakemake.input.segmentation}
with logged(snakemake.log[0]):
    write_comparison(
        figures=snakemake.params.stages,
        dataset=snakemake.params.dataset,
        kind=snakemake.params.kind,
        backbones=snakemake.params.networks,
        trained={stage: facts for stage, facts in trained.items() if facts},
        table=snakemake.output.table,
        markdown=snakemake.output.markdown,
    )
