"""From the `dataset` section of the configuration to an index."""

import hashlib
from functools import cache
from pathlib import Path

from ssc.data.coco import index_coco
from ssc.data.folder import files_below, index_folder, is_own, own_photos
from ssc.data.index import Index
from ssc.data.releases import release_folders
from ssc.data.voc import index_voc
from ssc.runtime.errors import InputError


def build_index(dataset: dict) -> Index:
    """Index the data set that a configuration describes.

    Args:
        dataset: `kind` and the keyword arguments of its adapter: `voc` (root, sbd, test_root), `coco` (train_images,
            train_instances, val_images, val_instances) or `folder` (root, images, labels, masks, classes).
            Keys that are absent or None take the adapter's default; other keys are left alone.

    Raises:
        InputError: the kind is unknown, a required key is not set, or the adapter refuses the data.
    """

    def given(*required: str, optional: tuple[str, ...] = ()) -> dict:
        for key in required:
            if dataset.get(key) is None:
                raise InputError(f"dataset.{key} is not set; kind {dataset['kind']!r} needs it.")
        return {key: dataset[key] for key in (*required, *optional) if dataset.get(key) is not None}

    match dataset.get("kind"):
        case "voc":
            return index_voc(**given("root", optional=("sbd", "test_root")))
        case "coco":
            return index_coco(**given("train_images", "train_instances", optional=("val_images", "val_instances")))
        case "folder":
            return index_folder(**given("root", optional=("images", "labels", "masks", "classes")))
        case kind:
            raise InputError(f"dataset.kind is {kind!r}; use voc, coco or folder.")


def folder_state(dataset: dict, key: str) -> str | None:
    """Digest, 16 hexadecimal digits, of what a folder of one's own photos holds; it is another when a file was changed.

    Args:
        dataset: see `build_index`. For published data sets, which do not change and are large, there is none.
        key: `images` or `masks`.
    """
    folder = dataset["kind"] == "folder" and dataset[key] and Path(dataset["root"]) / dataset[key]
    return files_state(folder, photos=key == "images") if folder else None


@cache
def files_state(folder: Path, *, photos: bool = False) -> str:
    """Digest, 16 hexadecimal digits, of the names, sizes and times of the files below a folder, hidden ones left out.

    Args:
        folder: it need not exist.
        photos: only these count, beside which there may be anything.
    """
    digest, found = hashlib.sha256(), files_below(folder)
    for name in own_photos(found) if photos else sorted(filter(is_own, found)):
        path = found[name]
        try:
            status = path.stat()
            state = status.st_size, status.st_mtime_ns
        except OSError:  # a link to nothing
            state = None
        digest.update(repr((name, state)).encode())
    return digest.hexdigest()[:16]


def deciding_files(dataset: dict) -> list[str]:
    """What decides on the index of a data set: folders to download and unpack, and the user's own tables and lists.

    None of the latter is missing, so that the index can say what is.

    Args:
        dataset: see `build_index`; `download` stands for a release (`ssc.data.releases`).
    """
    folders = release_folders(dataset)
    dataset = {key: None if value == "download" else value for key, value in dataset.items()}
    match dataset["kind"]:
        case "coco":
            files = [dataset[key] for key in ("train_instances", "val_instances") if dataset[key]]
        case "folder":
            files = [Path(dataset["root"]) / name for name in (dataset["labels"], dataset["classes"] or "classes.txt")]
        case "voc":
            roots = [Path(dataset[key]) for key in ("root", "test_root") if dataset[key]]
            places = [folder / place for folder in roots for place in ("VOCdevkit/VOC2012", "VOC2012", ".")]
            files = [file for place in places for file in sorted(place.glob("ImageSets/Segmentation/*.txt"))]
            sbd = [Path(dataset["sbd"]) / place for place in ("dataset", ".")] if dataset["sbd"] else []
            files += [file for place in sbd for file in sorted(place.glob("*.txt"))]
    return folders + [str(file) for file in files if Path(file).exists()]
