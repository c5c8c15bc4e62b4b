"""A look at all files of a data set before the work begins: what would stop it hours later is told in seconds."""

import hashlib
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ssc.constants import IGNORE
from ssc.data.index import Index, Row
from ssc.data.masks import check_size, open_mask
from ssc.data.photos import UNREADABLE, open_photo, orientation, unreadable, upright_size
from ssc.runtime.errors import InputError
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import log, tell, track

MIN_SIDE = 16
"""Least side of a photo in pixels: at the scale 0.5 of the CAMs a network of stride 8 has one cell left."""

NO_VAL_MASKS = (
    "segmentation.select_on_val: no photo of the split val has a mask; set it to false (`preset: released` has it "
    "true), or give masks."
)

_PIECE = 2**16  # bytes read at either end of a file
_FEW = 3  # classes of which one photo each may be a trial
_TOLD = 100  # bad images named in the log

# By format, the bytes that end a picture; something may follow them, such as what cameras append.
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def check_table(index: Index) -> None:
    """Check the table itself; no file is read.

    Classes that cannot be learned, because no training image shows them, or every one does, are told.

    Raises:
        InputError: there is no training image, none has a label, each class has one alone, there are more classes than
            a label map holds, a file is listed twice, or a name is one that text files cannot carry.
    """
    files = {}
    for row in index.rows:
        for name in (row.id, row.image, row.mask):
            check_name(name)
        other = files.setdefault(row.image, row)
        if other is not row:
            raise InputError(
                f"{row.image} is image {other.id!r} of split {other.split} and image {row.id!r} of split {row.split}; "
                "a photo belongs to one of them."
            )
    train = index.split("train")
    counts = Counter(label for row in train for label in row.labels)
    if not train:
        raise InputError("The data set has no training image; check the paths and the split column.")
    if not counts:
        raise InputError("No training image has a label; fill the labels in, since all training starts from them.")
    if index.num_classes >= IGNORE:
        raise InputError(
            f"The data set has {index.num_classes} classes, a label map holds {IGNORE - 1}; leave the rare ones out."
        )
    if index.num_classes > _FEW and all(counts[label] == 1 for label in range(1, index.num_classes + 1)):
        raise InputError(
            f"No class can be learned: each of the {index.num_classes} classes has one training photo alone, such as "
            f"{index.classes[0]!r}; write into the column 'labels' what several photos have in common."
        )
    names = dict(enumerate(index.classes, start=1))
    if absent := [name for k, name in names.items() if not counts[k]]:
        tell(f"Warning: no training image shows {', '.join(absent)}; it cannot be learned.")
    if len(train) > 1 and (always := [name for k, name in names.items() if counts[k] == len(train)]):
        tell(f"Warning: every training image shows {', '.join(always)}; nothing tells where it is not.")


def check_name(name: str) -> None:
    """Check that text files can carry a file's name.

    Raises:
        InputError: it holds a control character, or bytes that are no text.
    """
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise InputError(f"{name!r} holds a line break or another control character; rename the file.")


def check_images(index: Index, *, max_pixels: int, threads: int = 8) -> Index:
    """Check the files of all photos and of their masks, and take the digests of the photos.

    Of a photo, the header and the last 64 KiB are read. It is decoded where its end mark is not there (JPEG, PNG), or
    there is none (other formats). Of a mask PNG the header is read. An instances JSON is left to `write_masks`.

    Args:
        index: all images.
        max_pixels: width times height of a photo at most; nothing larger is decoded.
        threads: files read at the same time.

    Returns:
        The index with digests. They are taken of a file's size, its first and its last 64 KiB: of the whole file up to
        128 KiB, which holds most photos of VOC, and of formats without an end mark; a change in the middle of a larger
        JPEG or PNG that keeps its size goes unnoticed.

    Raises:
        InputError: a photo or mask is missing, damaged, of an unusable kind or size, or the two differ in size. The
            first one is told; the log names the others.
    """

    unturned = []

    def look(row: Row) -> tuple[Row, InputError | None]:
        try:
            digest, turned = _check_files(row, max_pixels)
            if not turned:
                unturned.append(row.image)
            return replace(row, digest=digest), None
        except InputError as error:
            return row, error

    rows, errors = [], []
    for row, error in track(parallel_map(look, index.rows, threads), "files", len(index.rows)):
        rows.append(row)
        if error:
            errors.append(error)
            if len(errors) <= _TOLD:
                log.error(error)
    if len(errors) > 1:
        raise InputError(
            f"{len(errors)} of {len(rows)} images cannot be used, as the log of this rule tells; first: {errors[0]}"
        )
    if errors:
        raise errors[0]
    if unturned:
        tell(f"Warning: {len(unturned)} photos have broken EXIF data, which is ignored, such as {min(unturned)}.")
    _warn_of_copies(rows)
    return Index(index.classes, rows)


def _check_files(row: Row, max_pixels: int) -> tuple[str, bool]:
    """Check one photo and its mask; the photo's digest, and whether its EXIF data can be read."""
    with open_photo(row.image) as photo:
        width, height = photo.size
        if width * height > max_pixels:
            raise InputError(
                f"The image {row.image} has {width}x{height} pixels, more than dataset.max_pixels ({max_pixels:,}); "
                "make it smaller, or raise that key."
            )
        if min(width, height) < MIN_SIDE:
            raise InputError(
                f"The image {row.image} has {width}x{height} pixels, fewer than {MIN_SIDE} on a side, too few to be "
                "segmented; take it out of the data."
            )
        try:
            digest, whole = _read_ends(row.image, _ENDS.get(photo.format))
            if not whole:
                photo.load()
            turned = orientation(photo) is not None  # Pillow says so the first time only
            size = upright_size(photo)
        except UNREADABLE as error:
            raise unreadable(row.image, error) from None
    if row.mask and not row.mask.endswith(".json"):
        with open_mask(row.mask) as mask:
            check_size(row, mask.size[::-1], size)
    return digest, turned


def _read_ends(path: str | Path, mark: bytes | None) -> tuple[str, bool]:
    """Digest of a file's size and ends, and whether the mark of a picture's end is in the last piece."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        last = max(0, size - _PIECE)
        start = _pixels_start(file) if mark == _ENDS["JPEG"] else 0
        file.seek(0)
        head = file.read(_PIECE if mark else -1)  # without compression, equal sizes say nothing
        file.seek(last)
        tail = file.read()
    digest = hashlib.blake2b(b"%d " % size + head + tail, digest_size=16).hexdigest()
    return digest, mark is not None and mark in tail[max(0, start - last) :]


def _pixels_start(file: BinaryIO) -> int:
    """Where the pixels of a JPEG begin: what stands before may hold a preview with an end mark of its own."""
    position = 2
    while True:
        file.seek(position)
        segment = file.read(4)
        if len(segment) < 4 or segment[0] != 0xFF or segment[1] == 0xDA:
            return position
        position += 1 if segment[1] == 0xFF else 2 + int.from_bytes(segment[2:])


def _warn_of_copies(rows: list[Row]) -> None:
    """Say how many photos of the training split are in another split as well, under another name."""
    train = {row.digest: row for row in rows if row.split == "train"}
    copies = [row for row in rows if row.split != "train" and row.digest in train]
    if copies:
        tell(
            f"Warning: {len(copies)} photos outside of the training split are copies of training photos, such as "
            f"{copies[0].image} of {train[copies[0].digest].image}."
        )


def check_predicted(index: Index, split: str) -> None:
    """Check that there are photos to predict.

    Raises:
        InputError: the split has none.
    """
    if not index.split(split):
        raise InputError(f"Split {split!r} has no image; set prediction.split to one that has, such as train.")


def check_val_masks(index: Index) -> None:
    """Check that validation masks can select the epoch of a training.

    Raises:
        InputError: no photo of the split `val` has a mask.
    """
    if not any(row.mask for row in index.split("val")):
        raise InputError(NO_VAL_MASKS)
