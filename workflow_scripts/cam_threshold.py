from ssc.stages.cam_threshold import write_cam_threshold
from ssc.workflow.job import job

with job(snakemake):
    write_cam_threshold(index=snakemake.input.index, cams=snakemake.input.cams, output=snakemake.output.threshold)
