"""The first table of labels for a folder of photos, from what their folders, names or keywords say already."""

import csv
import hashlib
import io
import json
import os
import re
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path, PurePosixPath

from ssc.constants import FEW_PHOTOS
from ssc.data.check import check_name, check_table
from ssc.data.folder import files_below, index_folder, own_photos
from ssc.data.index import Index
from ssc.data.keywords import photo_keywords
from ssc.data.label_table import BACKGROUND, NO_CLASS, class_list, plain, split_labels
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_text
from ssc.runtime.outputs import check_outputs, note_output
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import tell, track

Words = Mapping[str, Sequence[str]]
"""By photo, a path below the folder: names of folders, beginnings of file names, keywords, or those that are labels."""

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test"}  # fmt: skip
# Where photos are kept, not what they show.
_PLACES = {"image", "images", "img", "imgs", "photo", "photos", "pic", "pics", "picture", "pictures", "jpegimages",
    "data", "dataset", "dcim", "camera", "camera roll", "download", "downloads", "unsorted", "new folder",
    "screenshots", "whatsapp images"}  # fmt: skip
_CAMERA_FOLDER = re.compile(r"\d{3}[a-z\d_]{5}")  # 100CANON, 101_PANA
_CAMERA_NAME = re.compile(
    r"_*(img|imgp|mg|cimg|fb_img|mvimg|dsc|dscn|dscf|pxl|dji|gopr|vid|pano|burst|screenshot|whatsapp|signal|p\d{7})"
    r"(?![^\W\d_])",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?:[\W_]+\d+)+\W*$|\d+\W*$")  # `_001`, ` (3)`, `_2024-05-01`; without a separator `12`
_MASKS = {"masks", "mask"}  # folders whose pictures are no photos
_JPEG = {".jpg", ".jpeg"}

_NAMED = 3  # labels of a source that a sentence names
_THREADS = 8


def label_folder(folder: str | Path, table: str | Path, *, source: str | None = None, force: bool = False) -> str:
    """Write a table of labels for `ssc.data.folder.index_folder`, to be looked over by `check_labels`.

    A photo of which the source says nothing is left out, since an empty label would say that it shows none of the
    classes; `background` says that. Names without a letter, places such as `images` and what cameras write are no
    classes; folders `train`, `val` and `test` are the splits of their photos. Where the folder has a `classes.txt`,
    its names are the classes and no others. Hidden folders and those of masks are passed over.

    Args:
        folder: the photos, in any folders below.
        table: the CSV to write.
        source: `folders`, `names` (of the files, up to their number) or `keywords` (embedded in the photos); None takes
            the one that has labels of at least half of the photos.
        force: a table that this command has not written may be replaced.

    Returns:
        The source.

    Raises:
        InputError: there is no photo; the table is the user's; no source says what most photos show, or
            several differ in it; or several folders of a photo may be its class.
    """
    folder, table = Path(folder), Path(table)
    for name in map(str, (folder.absolute(), table.absolute())):
        check_name(name)
        if "{" in name or "}" in name:
            raise InputError(f"{name} holds a curly bracket, which no path of a run may; rename the folder.")
    check_outputs([table], command="start", force=force)
    photos = _photos(folder)
    listed = folder / "classes.txt"
    known = {plain(name) for name in class_list(listed)} if listed.exists() else set()
    words = {each: _SOURCES[each](folder, photos) for each in ([source] if source else _SOURCES)}
    labels = {each: _labels(own, known) for each, own in words.items()}
    if not any(labels.values()):
        raise InputError(
            f"The {', '.join(words)} of the photos of {folder} name no class{f' of {listed}' if known else ''}; sort "
            "the photos into a folder for each class, such as cat, dog and background."
        )
    source = source or _choose(folder, len(photos), labels)
    if source == "folders" and not known:
        _check_levels(folder, words[source])
    if all(_split(name, known) != "train" for name in labels[source]):
        raise InputError(f"All labelled photos of {folder} are in folders val or test; none is left to train on.")
    write_text(table, _as_csv(labels[source], known))
    note_output(table, command="start")
    return source


def check_labels(folder: str | Path, table: str | Path) -> Index:
    """Read a table of labels as a run does, and say which classes will be hard to learn.

    Raises:
        InputError: a run would refuse it; what is not clear is asked, all lines at once.
    """
    index = index_folder(folder, images=".", labels=_below(Path(folder), Path(table)))
    check_table(index)
    counts = Counter(label for row in index.split("train") for label in row.labels)
    few = [name for label, name in enumerate(index.classes, start=1) if 0 < counts[label] < FEW_PHOTOS]
    if few:
        tell(f"Warning: fewer than {FEW_PHOTOS} training photos show {', '.join(few)}; add photos of these classes.")
    return index


def run_command(folder: str | Path, table: str | Path) -> str:
    """The command, for a shell in the folder for results, that trains on a folder of photos with its table."""
    folder = Path(folder)
    dataset = {
        "name": _name(folder.resolve()),
        "root": str(folder.resolve()),
        "images": ".",
        "labels": _below(folder, Path(table)),
    }
    config = shlex.quote(f"dataset={json.dumps(dataset, ensure_ascii=False)}")
    return f"{shlex.quote(str(Path(sys.executable).with_name('ssc')))} run --config folder {config}"


def _name(folder: Path) -> str:
    """A name for the results, which two folders are not to share: that of the folder, with the one above it where many
    are called so, and a digest where letters are lost."""
    parts = folder.parts[-2:] if plain(folder.name) in _PLACES else folder.parts[-1:]
    name = "_".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_") for part in parts)))
    if any(letter.isalpha() and not letter.isascii() for part in parts for letter in part) or not name:
        name = f"{name or 'photos'}_{hashlib.sha256(str(folder).encode()).hexdigest()[:4]}"
    return name


def _below(folder: Path, table: Path) -> str:
    """The table as `dataset.labels` has it."""
    return table.name if table.resolve().parent == folder.resolve() else str(table.resolve())


def _photos(folder: Path) -> list[str]:
    """Photos below a folder; of one that is there in several formats, the JPEG."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name the folder of your photos.")
    found = defaultdict(list)
    for path in map(PurePosixPath, own_photos(files_below(folder))):
        if not _MASKS.intersection(map(plain, path.parts)):
            check_name(str(path))
            found[path.with_suffix("")].append(path)
    if not found:
        raise InputError(f"{folder} holds no photo; name the folder of your photos.")
    for alike in found.values():
        alike.sort(key=lambda path: (path.suffix.lower() not in _JPEG, path))
    if twice := [alike for alike in found.values() if len(alike) > 1]:
        first, second, *_ = min(twice)
        tell(f"{len(twice)} photos are there in several formats, such as {second}, of which {first} is taken.")
    return sorted(str(alike[0]) for alike in found.values())


def _folders(folder: Path, photos: Iterable[str]) -> Words:
    """The folders that each photo lies in, but for those that all photos in folders have in common."""
    parents = {name: PurePosixPath(name).parent for name in photos}
    inner = [parent for parent in parents.values() if parent.parts] or [PurePosixPath()]
    common = len(PurePosixPath(os.path.commonpath(inner)).parts)
    deepest = max(len(parent.parts) for parent in inner)
    skipped = max(0, min(common, deepest - 1))  # of one folder alone the last name may still be a class
    return {name: parent.parts[skipped:] for name, parent in parents.items()}


def _names(folder: Path, photos: Iterable[str]) -> Words:
    """File names up to their number, which several photos share; nothing of a camera's."""
    stems = {name: PurePosixPath(name).stem for name in photos}
    prefixes = {name: "" if _CAMERA_NAME.match(stem) else _NUMBER.sub("", stem) for name, stem in stems.items()}
    counts = Counter(map(plain, prefixes.values()))
    return {name: [prefix] if counts[plain(prefix)] > 1 else [] for name, prefix in prefixes.items()}


def _keywords(folder: Path, photos: Iterable[str]) -> Words:
    def read(name: str) -> tuple[str, list[str], InputError | None]:
        try:
            return name, photo_keywords(folder / name), None
        except InputError as error:
            return name, [], error

    photos = list(photos)
    found = list(track(parallel_map(read, photos, _THREADS), "keywords", len(photos)))
    if errors := [error for *_, error in found if error]:
        tell(f"Warning: {len(errors)} photos cannot be looked into for keywords; first: {errors[0]}")
    return {name: words for name, words, _ in found}


_SOURCES = {"folders": _folders, "names": _names, "keywords": _keywords}


def _labels(words: Words, known: Set[str]) -> Words:
    """Those words that are labels, of the photos that have some."""
    found = {name: _classes(own, known) for name, own in words.items()}
    return {name: labels for name, labels in found.items() if labels}


def _classes(words: Iterable[str], known: Set[str]) -> list[str]:
    labels = (label for word in words for label in split_labels(word, known))
    return [label for label in labels if _is_label(plain(label), known)]


def _is_label(name: str, known: Set[str]) -> bool:
    if known:
        return name in known or name in BACKGROUND
    place = name in _PLACES or name in _SPLITS or name in NO_CLASS or _CAMERA_FOLDER.fullmatch(name)
    return not place and any(map(str.isalpha, name))


def _choose(folder: Path, photos: int, labels: Mapping[str, Words]) -> str:
    """The source that says what most photos show; of several that part them alike, the first."""
    seen = {source: Counter(label for own in found.values() for label in own) for source, found in labels.items()}
    there = [source for source, found in labels.items() if 2 * len(found) >= photos]
    # One label for all photos says less than several.
    there = [source for source in there if len(set(map(plain, seen[source]))) > 1] or there
    if len({_parts(labels[source]) for source in there}) == 1:
        return there[0]
    told = "; ".join(
        f"{source}: {', '.join(label for label, _ in seen[source].most_common(_NAMED))}"
        f"{', ...' if len(seen[source]) > _NAMED else ''} ({len(labels[source])} of {photos} photos)"
        for source in there or labels
        if seen[source]
    )
    fault = "are labelled differently by" if there else "are labelled, less than half of them, by"
    raise InputError(f"The photos of {folder} {fault} {told}; say which with --from.")


def _parts(labels: Words) -> frozenset[frozenset[str]]:
    """The sets of photos with the same labels, however these are called."""
    parts = defaultdict(set)
    for name, own in labels.items():
        parts[frozenset(map(plain, own))].add(name)
    return frozenset(map(frozenset, parts.values()))


def _check_levels(folder: Path, words: Words) -> None:
    for name, parts in words.items():
        if len(levels := [part for part in parts if _classes([part], ())]) > 1:
            raise InputError(
                f"{folder / name} lies in several folders that may be its class ({', '.join(levels)}); list the names "
                f"of all classes, one per line, in {folder / 'classes.txt'}."
            )


def _as_csv(labels: Words, known: Set[str]) -> str:
    splits = {name: _split(name, known) for name in labels}
    several = set(splits.values()) != {"train"}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "labels", *(["split"] if several else [])])
    writer.writerows([name, ";".join(own), *([splits[name]] if several else [])] for name, own in labels.items())
    return text.getvalue()


def _split(name: str, known: Set[str]) -> str:
    """The split that a folder of the photo is called by."""
    folders = map(plain, PurePosixPath(name).parent.parts)
    return next((_SPLITS[each] for each in folders if each in _SPLITS and each not in known), "train")
