"""COCO's instances JSON: an annotation per connected region."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as rle_api

from ssc.interop.exports.masks import Mask, Region, regions
from ssc.interop.exports.outlines import polygon
from ssc.runtime.files import write_text


def write_coco(
    folder: Path, masks: Iterable[Mask], classes: Sequence[str], *, split: str, segmentation: str = "rle"
) -> None:
    """Write `annotations/instances_<split>.json`; its photos are named as below the folder `images`.

    Categories have the class ids 1..C. Areas are numbers of pixels, boxes (x, y, width, height) include all of them.

    Args:
        folder, masks, classes, split: what to write.
        segmentation: `rle` or `polygons`.
    """
    images, annotations = [], []
    for mask in masks:
        height, width = mask.labels.shape
        images.append({"id": len(images) + 1, "file_name": mask.photo, "height": height, "width": width})
        for region in regions(mask.labels):
            h, w = region.shape.shape
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": region.label,
                    "iscrowd": 0,
                    "area": int(region.shape.sum()),
                    "bbox": [region.left, region.top, w, h],
                    "segmentation": _rle(region, height, width)
                    if segmentation == "rle"
                    else [polygon(region).ravel().tolist()],
                }
            )
    categories = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(classes, start=1)]
    content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    write_text(folder / "annotations" / f"instances_{split}.json", json.dumps(content))


def _rle(region: Region, height: int, width: int) -> dict:
    h, w = region.shape.shape
    whole = np.zeros((height, width), np.uint8, order="F")
    whole[region.top : region.top + h, region.left : region.left + w] = region.shape
    return {"size": [height, width], "counts": rle_api.encode(whole)["counts"].decode("ascii")}
