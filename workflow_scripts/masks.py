from ssc.data.index import read_index
from ssc.stages.masks import write_masks
from ssc.workflow.job import job
from ssc.workflow.settings import Masks

with job(snakemake):
    index = read_index(snakemake.input.index)
    write_masks(
        index.shard(snakemake.wildcards.split, snakemake.wildcards.shard),
        index.num_classes,
        snakemake.output.archive,
        settings=Masks(**snakemake.params.settings),
    )
