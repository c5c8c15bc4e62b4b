"""The index: one table of images, whatever data set they come from. No pixels are read to make or use it."""

import csv
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic, check_member_name, read_text, write_text

SPLITS = ("train", "val", "test")
HEADER = ["id", "split", "image", "mask", "labels", "digest"]


@dataclass(frozen=True, slots=True)
class Row:
    """One image.

    Attributes:
        id: name of the image, unique within its split; member name in all archives.
        split: `train` (labels are used), `val` (evaluated), or `test` (predicted only).
        image: path of the photo.
        mask: path of the ground truth (a label PNG, or a COCO instances JSON), empty where there is none.
            Masks of training images serve evaluation of seeds and pseudo-labels only.
        labels: ids of the classes present, ascending, 1..C (0 is background).
        digest: of the photo's file, so that a result is known to be of another photo of that name; empty if not taken.
    """

    id: str
    split: str
    image: str
    mask: str
    labels: tuple[int, ...]
    digest: str = ""

    @property
    def key(self) -> str:
        """Digest, 16 hexadecimal digits, of what a result for the image depends on.

        Neither its ground truth counts, nor, where its content is known by a digest, where the photo lies.
        """
        return self.key_with()

    def key_with(self, *contents: bytes) -> str:
        """`key` of a result that depends on other data of the image too."""
        digest = hashlib.sha256(json.dumps([self.id, self.digest or self.image, self.labels]).encode())
        for content in contents:
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Index:
    """All images of a data set with its class names.

    Attributes:
        classes: names of the C foreground classes; class id k has the name `classes[k - 1]`.
        rows: the images; sorted here by split (train, val, test) and id, whatever order they are given in.
    """

    classes: list[str]
    rows: list[Row]

    def __post_init__(self):
        rows = sorted(self.rows, key=lambda row: (SPLITS.index(row.split), row.id))
        object.__setattr__(self, "rows", rows)

    @property
    def num_classes(self) -> int:
        """Number C of foreground classes."""
        return len(self.classes)

    def split(self, name: str) -> list[Row]:
        """Rows of one split."""
        return [row for row in self.rows if row.split == name]

    def shard(self, split: str, shard: str) -> list[Row]:
        """Rows of one shard, named `<k>-of-<n>` with k in 1..n.

        Membership depends on the image id alone, so that new images change only the shards they fall into.
        """
        number, count = (int(part) for part in shard.split("-of-"))
        return [row for row in self.split(split) if _part(row, count) == number - 1]


def write_index(path: str | Path, index: Index) -> None:
    """Write `index.tsv` and, beside it, `classes.txt` (one name per line).

    Args:
        path: the table to write.
        index: all images.

    Raises:
        InputError: an id occurs twice in a split or is no safe member name of an archive, a class name
            occurs twice, is `background` or cannot be carried in a line of text.
    """
    seen = set()
    for row in index.rows:
        if (row.split, row.id) in seen:
            raise InputError(f"Image id {row.id!r} occurs twice in split {row.split}; rename one image.")
        check_member_name(row.id)
        seen.add((row.split, row.id))
    for name in index.classes:
        if name.splitlines() != [name.strip()] or ";" in name or "\t" in name:
            raise InputError(f"Class name {name!r} is empty, padded, or holds ';', tab or line break; rename it.")
        if name.casefold() == "background":
            raise InputError(f"{name!r} is not a class of its own: class 0 is the background; take it off the list.")
    if len(set(index.classes)) != len(index.classes):
        raise InputError("A class name occurs twice in the class list; keep one of them.")
    write_text(Path(path).with_name("classes.txt"), "".join(f"{name}\n" for name in index.classes))
    _write_rows(path, index.rows)


def write_parts(path: str | Path, index: Index, shards: int) -> None:
    """Write the tables of the splits and of their shards, each of which changes only if its own images do.

    Beside the index `path`, they are `index/<split>.tsv` and `index/<split>/<k>-of-<n>.tsv`, n being `shards`.
    """
    folder = Path(path).parent / "index"
    for split in SPLITS:
        rows = index.split(split)
        _write_rows(folder / f"{split}.tsv", rows)
        parts = [[] for _ in range(shards)]
        for row in rows:
            parts[_part(row, shards)].append(row)
        for number, part in enumerate(parts, start=1):
            _write_rows(folder / split / f"{number}-of-{shards}.tsv", part)


def _part(row: Row, count: int) -> int:
    return zlib.crc32(row.id.encode()) % count


def _write_rows(path: str | Path, rows: Iterable[Row]) -> None:
    cells = ([r.id, r.split, r.image, r.mask, ";".join(map(str, r.labels)), r.digest] for r in rows)
    # Not as a data frame: there may be a million rows, and ids are written as they are.
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(cells)


def read_index(path: str | Path) -> Index:
    """Read what `write_index` or `write_parts` wrote.

    Raises:
        InputError: a file is absent, or the table lacks a column or cell or names an unknown split.
    """
    rows = []
    for line, cells in enumerate(_read_cells(path), start=2):
        labels = cells.get("labels") or ""
        known = list(cells) == HEADER and None not in cells.values() and cells["split"] in SPLITS
        if not known or not re.fullmatch(r"(\d+(;\d+)*)?", labels):
            raise InputError(f"{path}, line {line}: expected {', '.join(HEADER)}; make the index again.")
        labels = tuple(int(label) for label in labels.split(";") if label)
        rows.append(Row(cells["id"], cells["split"], cells["image"], cells["mask"], labels, cells["digest"]))
    return Index(classes=read_classes(classes_path(path)), rows=rows)


def _read_cells(path: str | Path) -> Iterator[dict[str, str]]:
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file, delimiter="\t")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no readable table ({error}); make it again or restore it.") from None


def classes_path(index_path: str | Path) -> Path:
    """Where the class names of an index lie: beside the table, or above the folder of the parts it belongs to."""
    own, *above = list(Path(index_path).absolute().parents)[:3]
    folders = [own, *(outer for inner, outer in pairwise([own, *above]) if inner.name == "index")]
    return next((file for folder in folders if (file := folder / "classes.txt").exists()), own / "classes.txt")


def read_classes(path: str | Path) -> list[str]:
    """Class names, one per line; blank lines are skipped.

    Raises:
        InputError: the file is absent or no text.
    """
    lines = read_text(path, what="The class list").splitlines()
    return [line.strip() for line in lines if line.strip()]


def class_ids(names: Iterable[str], classes: list[str], *, where: str) -> tuple[int, ...]:
    """Ascending ids (1..C) of class names.

    Raises:
        InputError: a name is not in `classes`; `where` says where it was read.
    """
    ids = set()
    for name in names:
        if name not in classes:
            raise InputError(f"{where}: class {name!r} is not in the class list ({', '.join(classes)}).")
        ids.add(classes.index(name) + 1)
    return tuple(sorted(ids))
