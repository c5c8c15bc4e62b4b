from ssc.data.build import build_index
from ssc.data.check import check_images, check_table
from ssc.data.index import write_index, write_parts
from ssc.job import job

with job(snakemake):
    index = build_index(snakemake.params.dataset)
    check_table(index)
    index = check_images(index, max_pixels=snakemake.config["dataset"]["max_pixels"])
    write_index(snakemake.output.index, index, needed=snakemake.config["prediction"]["split"])
    write_parts(snakemake.output.index, index, snakemake.config["shards"])
