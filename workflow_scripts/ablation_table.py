from ssc.ablation import write_ablation
from ssc.figures import plot_experiment_curves
from ssc.job import job

with job(snakemake):
    write_ablation(
        experiments=snakemake.params.experiments,
        table=snakemake.output.table,
        markdown=snakemake.output.markdown,
        dataset=snakemake.params.dataset,
    )
    plot_experiment_curves(snakemake.params.experiments, snakemake.output.curves)
