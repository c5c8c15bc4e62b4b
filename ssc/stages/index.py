"""The rule `index`: the table of all photos, written when nothing is left that a run would be refused for."""

from pathlib import Path

from ssc.data.build import build_index
from ssc.data.check import check_images, check_predicted, check_table, check_val_masks
from ssc.data.check_masks import check_masks
from ssc.data.corrected import check_corrected
from ssc.data.index import Index, write_index, write_parts
from ssc.data.shrink import shrink
from ssc.data.summary import summary
from ssc.runtime.parallel import processors
from ssc.runtime.progress import tell, told_time
from ssc.workflow.config import resolve
from ssc.workflow.disk import check_room
from ssc.workflow.experiments import selects_on_val
from ssc.workflow.last_run import expected_seconds
from ssc.workflow.settings import Settings


def make_index(
    *, config: dict, dataset: dict, output: str | Path, photos: str | Path | None = None, code: object = None
) -> Index:
    """Look at all photos, masks and labels, and write the tables of them: of all, by split, and by shard.

    Args:
        config: the complete configuration; of its experiment the settings, and `shards` as a number.
        dataset: its data set, see `ssc.data.build.build_index`.
        output: table of all images to write, in results/<data set>/.
        photos: folder for copies of large photos, where `dataset.max_side` is set.
        code: see `ssc.data.shrink.shrink`.

    Raises:
        InputError: something in them is wrong, or there is no room for what a run makes of them.
    """
    index = build_index(dataset)
    check_table(index)
    index = check_images(index, max_pixels=config["dataset"]["max_pixels"])
    check_masks(index)
    run = resolve(config, config["experiment"])
    check_asked(index, run)
    results = Path(output).parent
    check_room(index, run, results)
    if max_side := dataset.get("max_side"):
        index = shrink(index, photos, max_side=max_side, code=code)
    write_index(output, index)
    write_parts(output, index, config["shards"])
    tell(summary(index))
    if seconds := expected_seconds(results, index, run, cores=processors()):
        tell(f"Made anew, all of it takes about {told_time(seconds)}, going by the last run.")
    return index


def check_asked(index: Index, run: Settings) -> None:
    """Check that the index has what the settings of a run ask of it.

    Raises:
        InputError: the split to predict has no photo, no mask can select an epoch, or a corrected map is unusable.
    """
    check_predicted(index, run.prediction.split)
    if selects_on_val(run):
        check_val_masks(index)
    if run.pseudo_labels.corrected:
        check_corrected(index, run.pseudo_labels.corrected)
