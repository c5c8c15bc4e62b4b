"""The rule `masks`: ground truth of one shard of photos as label maps."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache as remember
from functools import partial
from pathlib import Path

import numpy as np

from ssc.constants import IGNORE
from ssc.data.coco import class_of_category, image_id, read_instances
from ssc.data.index import Row
from ssc.data.masks import check_size, read_mask, render_instances
from ssc.data.photos import open_photo, upright_size
from ssc.runtime.errors import InputError
from ssc.runtime.files import file_digest
from ssc.workflow import cache
from ssc.workflow.provenance import fingerprint
from ssc.workflow.settings import Masks


def write_masks(rows: Iterable[Row], num_classes: int, output: str | Path, *, settings: Masks) -> None:
    """Write the ground truth of all rows that have one into a shard archive, as `<image id>.png`.

    A mask is a palette or greyscale image of labels, or the instances JSON that lists the image (see
    `render_instances`). Each JSON is read once.

    Args:
        rows: images, of any split.
        num_classes: number C of foreground classes.
        output: the archive.
        settings: the section `masks`.

    Raises:
        InputError: a mask or photo cannot be read, the two differ in size, or a mask holds a value other than
            0..C and 255.
    """
    renderer, digest = remember(partial(_instances_renderer, settings=settings)), remember(file_digest)
    rows = [row for row in rows if row.mask]
    keys = {f"{row.id}.png": _key(row, digest) for row in rows}
    own = fingerprint(__name__, settings, {"classes": num_classes})
    with cache.resume(output, fingerprint=own, keys=keys) as writer:
        for row in rows:
            if f"{row.id}.png" in writer:
                continue
            labels = renderer(row.mask)(row.id) if row.mask.endswith(".json") else read_mask(row.mask)
            _check(labels, row, num_classes)
            writer.add_labels(row.id, labels)


def _key(row: Row, digest: Callable[[str], str]) -> str:
    """Key of a mask in its archive: its file counts; where that is absent, reading it will say so."""
    return replace(row, labels=()).key_with(digest(row.mask).encode() if Path(row.mask).is_file() else b"")


def _instances_renderer(path: str, settings: Masks) -> Callable[[str], np.ndarray]:
    """Read an instances JSON; return the function from image id to label map."""
    instances = read_instances(path)
    class_of = class_of_category(instances)
    images = {image_id(image["file_name"]): image for image in instances["images"]}
    annotations = defaultdict(list)
    for annotation in instances["annotations"]:
        annotations[annotation["image_id"]].append(annotation)

    def render(name: str) -> np.ndarray:
        if name not in images:
            raise InputError(f"{path} does not list the image {name!r}; make the index again.")
        image = images[name]
        size = image["height"], image["width"]
        return render_instances(annotations[image["id"]], class_of, *size, **settings.model_dump())

    return render


def _check(labels: np.ndarray, row: Row, num_classes: int) -> None:
    with open_photo(row.image) as photo:
        check_size(row, labels.shape, upright_size(photo))
    wrong = labels[(labels > num_classes) & (labels != IGNORE)]
    if wrong.size:
        raise InputError(f"The mask {row.mask} of {row.id} holds {wrong[0]}; use 0..{num_classes} and {IGNORE}.")
