"""How many shards the photos are cut into where `shards` is `auto`."""

from pathlib import Path

from ssc.data.folder import files_below, own_photos

_PHOTOS = 64  # of one's own in a shard; fewer are done sooner than a job begins
_MOST = 16


def count_shards(dataset: dict, results: Path) -> int:
    """As many as the results have that are there, so that new photos leave them as they are; else one for 64 photos of
    one's own, or of the demo, 16 at most, and 16 for published data sets.

    Args:
        dataset: see `ssc.data.build.build_index`; or that of the demo.
        results: folder of the data set's results; it need not exist.
    """
    # Archives beside the index: Snakemake takes that away before it makes it anew, and leaves none where it cannot.
    made = [*results.glob("index/train/1-of-*.tsv"), *results.glob("*/1-of-*.zip"), *results.glob("masks/*/1-of-*.zip")]
    numbered = [(file.stat().st_mtime, int(file.stem[5:])) for file in made if file.stem[5:].isdecimal()]
    if numbered:
        return max(numbered)[1]
    match dataset["kind"]:
        case "folder":
            photos = len(own_photos(files_below(Path(dataset["root"]) / dataset["images"])))
        case "demo":
            photos = dataset["train"] + dataset["val"]
        case _:
            return _MOST
    return min(_MOST, max(1, -(-photos // _PHOTOS)))
