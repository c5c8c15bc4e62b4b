"""The table of image labels, written by hand or with a spreadsheet: what is unambiguous is read, all else is asked.

It is a CSV with the columns `image`, `labels` and perhaps `split`. Commas, semicolons or tabs separate its cells;
semicolons, commas or bars the labels of a cell.
"""

import csv
import difflib
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ssc.data.index import SPLITS, read_classes
from ssc.runtime.errors import InputError, refuse
from ssc.runtime.files import read_text
from ssc.runtime.progress import tell

_COLUMNS = {
    "image": ("image", "images", "file", "filename", "photo"),
    "labels": ("labels", "label", "classes", "class", "tags"),
    "split": ("split",),
}
BACKGROUND = ("background", "_background_", "__background__")
"""Labels, as `plain` has them, of a photo that shows none of the classes."""

NO_CLASS = ("none", "nan", "null", "n/a", "unlabeled", "unlabelled", "__ignore__", "ignore", "unknown", "?")
"""What stands where nobody knows, likewise."""

_TOLD = 5  # lines named of one finding


@dataclass(frozen=True, slots=True)
class Entry:
    """What the table says of one photo.

    Attributes:
        image: path below the folder of photos.
        split: `train`, `val` or `test`.
        labels: names of classes.
        line: of the table, the first one that names the photo.
    """

    image: PurePosixPath
    split: str
    labels: tuple[str, ...]
    line: int


def read_label_table(path: str | Path, *, classes: str | Path | None = None) -> tuple[list[str], list[Entry]]:
    """Read the table of image labels.

    Class names that differ in case, in spaces or in their Unicode form are one class. Several lines of a photo are
    joined. What was read otherwise than it is written is told on the terminal.

    Args:
        path: the CSV.
        classes: file of class names, one per line, in the order of their ids; None takes the sorted names of the CSV.

    Returns:
        The names of the classes in the order of their ids, and the photos in the order of the table.

    Raises:
        InputError: the files cannot be read, or the table has faults; all are told, with their lines.
    """
    path = Path(path)
    listed = None if classes is None else class_list(classes)
    known = {plain(name) for name in listed or ()}
    faults, cells = [], [(cell, split_labels(cell.labels, known)) for cell in _cells(path)]
    names = _resolve(Counter(name for _, found in cells for name in found), listed)
    lines = defaultdict(list)
    entries: dict[PurePosixPath, Entry] = {}
    for cell, found in cells:
        image, labels = PurePosixPath(cell.image.replace("\\", "/")), []
        for name in found:
            lines[name].append(cell.line)
            if names.get(name):
                labels.append(names[name])
        split, other = cell.split.lower() or "train", entries.get(image)
        if not image.name or image.is_absolute() or ".." in image.parts:
            faults.append(f"line {cell.line}: image {cell.image!r} is no path below the images folder")
        elif split not in SPLITS:
            faults.append(f"line {cell.line}: unknown split {cell.split!r}; use one of {', '.join(SPLITS)}")
        elif other and other.split != split:
            faults.append(f"line {cell.line}: {image} is of split {other.split} in line {other.line}; keep one of them")
        else:
            before = other.labels if other else ()
            joined = tuple(dict.fromkeys((*before, *labels)))
            entries[image] = Entry(image, split, joined, other.line if other else cell.line)
    refuse(path, faults + _unclear(lines, names, listed))
    _tell_readings(path, lines, names, joined=len(cells) - len(entries))
    return listed or sorted(set(names.values()) - {""}), list(entries.values())


def class_list(path: str | Path) -> list[str]:
    """Class names of a file, one per line; labels of the background that stand before all classes are left out.

    Raises:
        InputError: the file cannot be read.
    """
    names = read_classes(path)
    first = next((k for k, name in enumerate(names) if name.casefold() not in (*BACKGROUND, "__ignore__")), len(names))
    return names[first:]


@dataclass(frozen=True, slots=True)
class _Cells:
    line: int
    image: str
    labels: str
    split: str


def _cells(path: Path) -> Iterable[_Cells]:
    """The cells of each line that has some."""
    text = read_text(path, what="The label table")
    start = 1
    if text[:4].casefold() == "sep=":  # Excel's own first line
        start, text = 2, text.partition("\n")[2]
    header_line = text.partition("\n")[0]
    for delimiter in ",;\t":
        header = next(csv.reader([header_line], delimiter=delimiter), [])
        columns = _columns(header)
        if {"image", "labels"} <= columns.keys():
            break
    else:
        raise InputError(
            f"{path} begins with {header_line!r}; expected the names of its columns: image, labels and perhaps split."
        )
    # A misspelt `split` must not turn validation images into training images.
    unknown = [cell for k, cell in enumerate(header) if cell.strip() and k not in columns.values()]
    if unknown:
        raise InputError(f"{path} has the column {unknown[0]!r}; expected image, labels and perhaps split.")
    faults, found = [], []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        next(reader)
        for row in reader:
            line = reader.line_num + start - 1
            if not any(cell.strip() for cell in row):
                continue
            few = len(row) <= max(columns["image"], columns["labels"])
            if few or any(cell.strip() for cell in row[len(header) :]):
                mend = "add what is missing" if few else f"quote cells that hold a {delimiter!r}"
                faults.append(f"line {line}: expected {len(header)} cells, found {len(row)}; {mend}")
                continue
            own = {name: row[k].strip() if k < len(row) else "" for name, k in columns.items()}
            found.append(_Cells(line, own["image"], own["labels"], own.get("split", "")))
    except csv.Error as error:
        raise InputError(f"{path} is not a valid CSV ({error}); correct its quotes.") from None
    refuse(path, faults)
    return found


def _columns(header: Sequence[str]) -> dict[str, int]:
    names = [cell.strip().casefold() for cell in header]
    return {column: names.index(name) for column, known in _COLUMNS.items() for name in known if name in names}


def plain(name: str) -> str:
    """What names that are the same to a reader have in common: case, runs of spaces and Unicode forms do not count."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", name)).strip().casefold()


def split_labels(cell: str, known: Set[str]) -> list[str]:
    """The names in a cell; a known name, as `plain` has it, may hold a comma or a bar itself."""
    parts = []
    for part in cell.split(";"):
        parts += [part] if plain(part) in known else re.split("[,|]", part)
    return [part.strip() for part in parts if part.strip()]


def _resolve(counts: Mapping[str, int], listed: Sequence[str] | None) -> dict[str, str]:
    """The class of each name that is unambiguous; empty for the background, which is no class."""
    classes: dict[str, str] = {}
    for name in listed if listed is not None else sorted(counts, key=lambda name: (-counts[name], name)):
        classes.setdefault(plain(name), name)
    exact = set(listed or ())
    found = {}
    for name in counts:
        key = plain(name)
        if name in exact or (key in classes and not (listed is None and key in (*BACKGROUND, *NO_CLASS))):
            found[name] = name if name in exact else classes[key]
        elif key in BACKGROUND:
            found[name] = ""
    return found


def _unclear(lines: Mapping[str, list[int]], names: Mapping[str, str], listed: Sequence[str] | None) -> list[str]:
    """Names of which only the user knows what they mean."""
    faults = []
    for name in lines:
        if name in names:
            continue
        if plain(name) in NO_CLASS:
            faults.append(
                f"{_where(lines[name])}: {name!r} is no class; leave the cell empty where a photo shows none of the "
                "classes, and drop the line where nobody knows"
            )
        else:
            near = difflib.get_close_matches(name, listed, 1)
            hint = f"; did you mean {near[0]!r}" if near else f" ({', '.join(listed)})"
            faults.append(f"{_where(lines[name])}: class {name!r} is not in the class list{hint}")
    if listed is None:
        classes = {plain(name): name for name in names.values() if name}
        for key, name in classes.items():
            if plural := next((classes[key + end] for end in ("s", "es") if key + end in classes), None):
                faults.append(
                    f"{_where(lines[plural])}: {plural!r} beside {name!r}; write them alike, or list both in "
                    "classes.txt if they are two classes"
                )
        if classes and all(key.isdecimal() for key in classes):
            faults.append(
                f"the labels are numbers ({', '.join(sorted(classes)[:3])}); write names, or list the numbers in "
                "classes.txt in the order of their class ids 1, 2, ..."
            )
    return faults


def _where(lines: Sequence[int]) -> str:
    told = ", ".join(map(str, lines[:_TOLD])) + (f" and {len(lines) - _TOLD} more" if len(lines) > _TOLD else "")
    return f"line{'s' if len(lines) > 1 else ''} {told}"


def _tell_readings(path: Path, lines: Mapping[str, list[int]], names: Mapping[str, str], *, joined: int) -> None:
    for name, meant in names.items():
        if name != meant:
            told = f"as {meant!r}" if meant else "as no class"
            tell(f"{path}, {_where(lines[name])}: {name!r} is read {told}.")
    if joined:
        tell(f"{path}: {joined} lines name a photo again; their labels are joined.")
