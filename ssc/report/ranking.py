"""Which images a report shows: tables of the images' mIoU, and the best, median and worst of a ranking."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ssc.runtime.files import read_tsv, write_tsv

Item = TypeVar("Item")


def write_scores(path: str | Path, scores: Mapping[str, float | None]) -> None:
    """Write the mIoU of images (0..1) by their ids as TSV, in percent; None leaves the cell empty."""
    cells = ([name, "" if miou is None else f"{100 * miou:.2f}"] for name, miou in scores.items())
    write_tsv(path, ["id", "miou"], cells)


def read_scores(path: str | Path) -> dict[str, float]:
    """mIoU in percent by image id, of the images that have one, from a file of `write_scores`.

    Raises:
        InputError: the file is absent.
    """
    return {row["id"]: float(row["miou"]) for row in read_tsv(path) if row["miou"]}


def extremes(ranking: Sequence[Item], count: int) -> list[Item]:
    """A third each of the first, of the middle and of the last items, in their order; all if there are no more.

    What does not divide by three goes to the middle first, then to both ends.
    """
    if len(ranking) <= count:
        return list(ranking)
    ends = (count + 1) // 3
    middle = count - 2 * ends
    start = (len(ranking) - middle) // 2
    return [*ranking[:ends], *ranking[start : start + middle], *ranking[len(ranking) - ends :]]
