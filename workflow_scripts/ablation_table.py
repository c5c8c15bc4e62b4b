from ssc.report.ablation import write_ablation
from ssc.report.curves import plot_experiment_curves
from ssc.workflow.job import job

with job(snakemake):
    write_ablation(
        experiments=snakemake.params.experiments,
        classifiers=snakemake.params.classifiers,
        later=snakemake.params.later,
        table=snakemake.output.table,
        markdown=snakemake.output.markdown,
        dataset=snakemake.params.dataset,
    )
    plot_experiment_curves(snakemake.params.experiments, snakemake.output.curves)
