"""How many shards the photos are cut into where `shards` is `auto`."""

from pathlib import Path

from ssc.data.folder import files_below, own_photos

_PHOTOS = 64  # of one's own in a shard; fewer are done sooner than a job begins
_MOST = 16


def count_shards(dataset: dict, index: Path) -> int:
    """As many as the results have that are there, so that new photos leave them as they are; else one for 64 photos of
    one's own, 16 at most, and 16 for published data sets.

    Args:
        dataset: see `ssc.data.build.build_index`; or that of the demo.
        index: folder of the index's tables, see `ssc.data.index.write_parts`; it need not exist.
    """
    if made := sorted((index / "train").glob("1-of-*.tsv"), key=lambda table: table.stat().st_mtime):
        return int(made[-1].stem.removeprefix("1-of-"))
    match dataset["kind"]:
        case "folder":
            photos = len([*own_photos(files_below(Path(dataset["root"]) / dataset["images"]))])
        case "demo":
            photos = dataset["train"] + dataset["val"]
        case _:
            return _MOST
    return min(_MOST, max(1, -(-photos // _PHOTOS)))
