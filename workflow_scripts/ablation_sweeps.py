from ssc.figures import plot_sweeps
from ssc.job import job

with job(snakemake):
    plot_sweeps(snakemake.params.sweeps, snakemake.output[0])
