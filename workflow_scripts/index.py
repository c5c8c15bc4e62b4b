from pathlib import Path

from ssc.data.build import build_index
from ssc.data.check import check_images, check_table, check_val_masks
from ssc.data.check_masks import check_masks
from ssc.data.corrected import check_corrected
from ssc.data.index import write_index, write_parts
from ssc.data.shrink import shrink
from ssc.data.summary import summary
from ssc.runtime.parallel import processors
from ssc.runtime.progress import tell, told_time
from ssc.workflow.config import resolve
from ssc.workflow.disk import check_room
from ssc.workflow.experiments import selects_on_val
from ssc.workflow.job import job
from ssc.workflow.last_run import expected_seconds

output, config = snakemake.output.index, snakemake.config
with job(snakemake):
    index = build_index(snakemake.params.dataset)
    check_table(index)
    index = check_images(index, max_pixels=config["dataset"]["max_pixels"])
    check_masks(index)
    run = resolve(config, config["experiment"])
    if selects_on_val(run):
        check_val_masks(index)
    if run.pseudo_labels.corrected:
        check_corrected(index, run.pseudo_labels.corrected)
    check_room(index, run, Path(output).parent)
    if max_side := snakemake.params.dataset.get("max_side"):
        index = shrink(index, snakemake.output.photos, max_side=max_side, code=snakemake.params.source)
    write_index(output, index, needed=config["prediction"]["split"])
    write_parts(output, index, config["shards"])
    tell(summary(index))
    if seconds := expected_seconds(Path(output).parent, index, run, cores=processors()):
        tell(f"Made anew, all of it takes about {told_time(seconds)}, going by the last run.")
