from ssc.data.demo import generate
from ssc.progress import logged

with logged(snakemake.log[0]):
    generate(
        snakemake.output[0],
        train=snakemake.params.train,
        val=snakemake.params.val,
        size=snakemake.params.size,
        seed=snakemake.params.seed,
    )
