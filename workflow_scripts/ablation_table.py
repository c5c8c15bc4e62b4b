from ssc.ablation import write_ablation
from ssc.figures import plot_experiment_curves
from ssc.progress import logged

with logged(snakemake.log[0]):
    write_ablation(
        experiments=snakemake.params.experiments,
        table=snakemake.output.table,
        markdown=snakemake.output.markdown,
        dataset=snakemake.params.dataset,
    )
    plot_experiment_curves(snakemake.params.experiments, snakemake.output.curves)
