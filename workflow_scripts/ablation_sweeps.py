from ssc.figures import plot_sweeps
from ssc.progress import logged

with logged(snakemake.log[0]):
    plot_sweeps(snakemake.params.sweeps, snakemake.output[0])
