from ssc.report.ablation import write_ablation
from ssc.report.curves import plot_experiment_curves
from ssc.workflow.job import job

with job(snakemake):
    write_ablation(
        experiments=snakemake.params.followed,
        classifiers=snakemake.params.classifiers,
        table=snakemake.output.table,
        stages=snakemake.output.stages,
        markdown=snakemake.output.markdown,
        dataset=snakemake.params.dataset,
    )
    seeds = {name: stages["seeds"]["figures"] for name, stages in snakemake.params.followed.items()}
    plot_experiment_curves(seeds, snakemake.output.curves)
