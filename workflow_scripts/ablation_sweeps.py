from ssc.report.curves import plot_sweeps
from ssc.workflow.job import job

with job(snakemake):
    plot_sweeps(snakemake.params.sweeps, snakemake.output[0])
