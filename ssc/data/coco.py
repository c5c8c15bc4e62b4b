"""MS COCO: the official instances JSON of a training and, optionally, a validation split."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

from ssc.data.index import Index, Row
from ssc.data.masks import outline_fault
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json
from ssc.runtime.progress import tell

_KEYS = {
    "images": {"id", "file_name", "height", "width"},
    "annotations": {"image_id", "category_id"},
    "categories": {"id", "name"},
}


def index_coco(
    *,
    train_images: str | Path,
    train_instances: str | Path,
    val_images: str | Path | None = None,
    val_instances: str | Path | None = None,
) -> Index:
    """Index COCO; the paper uses the 2014 release (82,783 training and 40,504 validation images, 80 classes).

    Class ids 1..C follow the ascending category ids of the JSON, which has gaps. The labels of an image are
    the categories of all its annotations, crowds included: a crowd of people shows people. An image without
    annotations has no labels. The ground truth of every image is the JSON itself (see `ssc.data.masks`); the
    image id is the file name without extension.

    Args:
        train_images, val_images: folders of the photos. Only the first photo of each is looked for, because
            a look-up per image takes minutes on network disks.
        train_instances, val_instances: their instances JSON files. Both `val_*` are None without val split.

    Raises:
        InputError: a folder or file is missing, a JSON is no instances file, or the splits differ in
            categories.
    """
    if (val_images is None) != (val_instances is None):
        raise InputError("Only one of val_images and val_instances is set; set both or neither.")
    classes, rows = _index_split("train", train_images, train_instances)
    if val_images is not None:
        val_classes, val_rows = _index_split("val", val_images, val_instances)
        if val_classes != classes:
            raise InputError(f"{train_instances} and {val_instances} differ in categories; use one release.")
        rows += val_rows
    return Index(classes, rows)


def read_instances(path: str | Path) -> dict:
    """Read an instances JSON and check what labels and masks are made from.

    Returns:
        the JSON object: lists `images` (id, file_name, height, width), `annotations` (image_id, category_id, and
        perhaps iscrowd and segmentation: boxes alone suffice for labels) and `categories` (id, name).

    Raises:
        InputError: the file is absent or no JSON, a list or key is missing, an image has no size, or an annotation an
            unknown category or outlines that are none.
    """
    instances = read_json(path)
    for kind, keys in _KEYS.items():
        if not isinstance(instances.get(kind), list):
            raise InputError(f"{path} has no list {kind!r}; give an instances JSON as COCO publishes it.")
        for entry in instances[kind]:
            if missing := keys - (entry.keys() if isinstance(entry, dict) else set()):
                missing = ", ".join(sorted(missing))
                raise InputError(f"{path}: an entry of {kind!r} lacks {missing}; give an instances JSON of COCO.")
    for image in instances["images"]:
        if not all(isinstance(side := image[key], int) and side > 0 for key in ("height", "width")):
            size = f"{image['width']}x{image['height']}"
            raise InputError(f"{path}, image {image['id']}: its size is {size}; write its width and height in pixels.")
    known, sizes = class_of_category(instances), {image["id"]: image for image in instances["images"]}
    for number, annotation in enumerate(instances["annotations"]):
        where = f"{path}, annotation {annotation.get('id', f'number {number}')}"
        if annotation["category_id"] not in known:
            raise InputError(f"{where}: its category {annotation['category_id']} is not in 'categories'.")
        image = sizes.get(annotation["image_id"])
        if image and (fault := outline_fault(annotation.get("segmentation"), image["height"], image["width"])):
            raise InputError(f"{where}: {fault}; restore the JSON, or leave the segmentation out.")
    return instances


def class_of_category(instances: dict) -> dict[int, int]:
    """Class id (1..C) of each category id, in ascending order."""
    return {category: k for k, category in enumerate(sorted(c["id"] for c in instances["categories"]), start=1)}


def image_id(file_name: str) -> str:
    """Image id of a `file_name` in the JSON: its last part without extension."""
    return PurePosixPath(file_name).stem


def _index_split(split: str, folder: str | Path, path: str | Path) -> tuple[list[str], list[Row]]:
    instances = read_instances(path)
    if not Path(folder).is_dir():
        raise InputError(f"The photo folder {folder} of the {split} split does not exist; set its path.")
    for image in instances["images"][:1]:
        if not (Path(folder) / image["file_name"]).exists():
            raise InputError(f"{image['file_name']} of {path} is not in {folder}; the two belong to different splits.")
    class_of = class_of_category(instances)
    labels, without_outline = defaultdict(set), set()
    for annotation in instances["annotations"]:
        labels[annotation["image_id"]].add(class_of[annotation["category_id"]])
        if not annotation.get("segmentation"):
            without_outline.add(annotation["image_id"])
    if unlisted := labels.keys() - {image["id"] for image in instances["images"]}:
        tell(f"Warning: {path} has annotations of {len(unlisted)} images that it does not list.")
    if without_outline:
        tell(f"{path}: {len(without_outline)} images have annotations without outlines; nothing is measured on them.")
    rows = [
        Row(
            id=image_id(image["file_name"]),
            split=split,
            image=f"{folder}/{image['file_name']}",
            mask="" if image["id"] in without_outline else str(path),
            labels=tuple(sorted(labels.get(image["id"], ()))),
        )
        for image in instances["images"]
    ]
    names = {category["id"]: category["name"] for category in instances["categories"]}
    return [names[category] for category in class_of], rows
