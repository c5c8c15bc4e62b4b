"""Intermediate results of others, read by shard into the archives that the stages hand to each other.

A folder holds one file per training image, named by the image's id. Everything is checked against the index and the
photos before an archive appears.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from ssc import archive
from ssc.constants import IGNORE, STRIDE
from ssc.data.index import Row, read_index
from ssc.data.masks import read_labels
from ssc.data.photos import Size, open_photo, upright_size
from ssc.interop.folders import read_arrays
from ssc.runtime.errors import InputError
from ssc.runtime.progress import log, track
from ssc.superpixels import regions_from_rgb
from ssc.workflow.settings import CAMs


def import_superpixels(*, index: str | Path, shard: str, folder: str | Path, output: str | Path) -> None:
    """Write one shard's superpixels from pictures `<id>.png`: 8-bit RGB, in which a label is R + 256 G + 65536 B, or
    of one channel, as in the archives of another run.

    Labels are renumbered 0..n-1.

    Args:
        index, shard: the images, of the training split.
        folder: the pictures.
        output: archive of label PNGs.

    Raises:
        InputError: a picture is missing, unreadable, of another kind, differs from its photo in size, or has more than
            65,536 superpixels.
    """
    rows = read_index(index).shard("train", shard)
    with archive.write(output) as out:
        for row in track(rows, f"superpixels {shard}"):
            path = _file(folder, row, ".png", "ready.superpixels")
            labels = _read_regions(path)
            _check_size(path, labels.shape, row)
            if labels.max() > np.iinfo(np.uint16).max:
                raise InputError(f"{path} has {labels.max() + 1} superpixels; at most 65,536 can be stored.")
            out.add_labels(row.id, labels)


def import_cams(*, index: str | Path, shard: str, folder: str | Path, output: str | Path, settings: CAMs) -> None:
    """Write one shard's CAMs from files `<id>.npz` like those of `ssc.stages.cams.write_cams`.

    A file holds `classes` (K,), ids 1..C in any order, and `cams` (K, h, w) in 0..1 at stride 4: h = ceil(H / 4); for
    `stride: 1` also `high_res` (K, H, W) in 0..1, or the terms `scale_0`, ... of another run, see
    `ssc.cams.full_cams`; without these seeds and IRN labels are made of `cams`, enlarged. An image without labels needs
    no file, and no size of maps.

    Args:
        index, shard: the images, of the training split.
        folder: the files.
        output: archive, as `ssc.stages.cams.write_cams` writes it.
        settings: the section `cams`, of which `stride` and `dtype` count.

    Raises:
        InputError: a file is missing, unreadable or lacks an array, its classes are not those of the image's labels,
            its maps have another size than the photo at their stride, or a value lies outside 0..1.
    """
    rows, coarse = read_index(index).shard("train", shard), 0
    strides = {"cams": STRIDE, "high_res": 1} if settings.stride == 1 else {"cams": STRIDE}
    with archive.write(output) as out:
        for row in track(rows, f"CAMs {shard}"):
            size = _photo_size(row)
            path, arrays = Path(folder) / f"{row.id}.npz", {"classes": np.zeros(0)}
            if row.labels or path.is_file():
                arrays = read_arrays(_file(folder, row, ".npz", "ready.cams"), "classes", "cams")
            classes = arrays["classes"]
            if classes.ndim != 1 or sorted(classes.tolist()) != list(row.labels):
                raise InputError(f"{path} holds classes {classes.tolist()}, the image's labels are {list(row.labels)}.")
            if not row.labels:
                none = np.zeros((0, *(-(-side // STRIDE) for side in size)), settings.dtype)
                out.add_arrays(row.id, classes=classes.astype(np.int16), cams=none)
                continue
            found = {name: arrays[name] for name in strides if name in arrays}
            for name, maps in found.items():
                needed = (len(classes), *(-(-side // strides[name]) for side in size))
                if maps.shape != needed:
                    raise InputError(f"{path}: {name} has shape {maps.shape}, its photo {row.image} needs {needed}.")
                if maps.dtype.kind != "f" or not ((maps >= 0) & (maps <= 1)).all():
                    raise InputError(f"{path}: {name} must hold floats in 0..1; divide each map by its maximum.")
            if settings.stride == 1:
                found |= {name: maps for name, maps in arrays.items() if name.startswith("scale_")}
            for name in found.keys() - strides.keys():  # the terms of a sum, of any size; one alone may exceed 1
                maps = found[name]
                if maps.ndim != 3 or len(maps) != len(classes) or maps.dtype.kind != "f" or not (maps >= 0).all():
                    raise InputError(f"{path}: {name} must hold a map >= 0 for each class; take it from the run again.")
            coarse += len(found) < len(strides)
            order = np.argsort(classes)
            own = {name: maps[order].astype(settings.dtype) for name, maps in found.items()}
            out.add_arrays(row.id, classes=classes[order].astype(np.int16), **own)
    if coarse:
        log.warning("Warning: %d files of %s lack high_res; their seeds are made of cams, enlarged.", coarse, folder)


def import_pseudo_labels(
    *, index: str | Path, shard: str, folder: str | Path, output: str | Path, confidence: str | Path
) -> None:
    """Write one shard's pseudo-labels and confidence masks from label pictures `<id>.png`.

    Args:
        index, shard: the images, of the training split.
        folder: 8-bit palette or greyscale pictures of labels 0..C; 255 where there is none.
        output: archive of pseudo-labels.
        confidence: archive of masks: 1 where there is a label, 0 where it is 255.

    Raises:
        InputError: a picture is missing, or see `ssc.data.masks.read_labels`.
    """
    table = read_index(index)
    rows = table.shard("train", shard)
    with archive.write(output) as out, archive.write(confidence) as masks:
        for row in track(rows, f"pseudo-labels {shard}"):
            path = _file(folder, row, ".png", "ready.pseudo_labels")
            labels = read_labels(path, row, table.num_classes)
            out.add_labels(row.id, labels)
            masks.add_labels(row.id, (labels != IGNORE).astype(np.uint8))


def _photo_size(row: Row) -> Size:
    with open_photo(row.image) as photo:
        return upright_size(photo)


def _file(folder: str | Path, row: Row, suffix: str, key: str) -> Path:
    path = Path(folder) / f"{row.id}{suffix}"
    if not path.is_file():
        raise InputError(f"{path} does not exist; the folder that {key} names needs a file for each training image.")
    return path


def _read_regions(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode == "RGB":
                return regions_from_rgb(np.asarray(image))
            if image.mode not in ("P", "L", "I;16"):
                raise InputError(
                    f"{path} has mode {image.mode}; a superpixel picture is an 8-bit RGB PNG, or one of labels."
                )
            _, labels = np.unique(np.asarray(image), return_inverse=True)
            return labels.reshape(image.size[::-1]).astype(np.int32)
    except (OSError, SyntaxError) as error:  # Pillow reports a wrong PNG checksum as the latter.
        raise InputError(f"{path} is no readable picture ({error}); restore it.") from None


def _check_size(path: Path, size: tuple[int, int], row: Row) -> None:
    height, width = _photo_size(row)
    if size != (height, width):
        raise InputError(f"{path} is {size[1]}x{size[0]}, its photo {row.image} {width}x{height}; restore the pair.")
