"""CVAT for images 1.1: an XML with a mask per connected region."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from ssc.constants import voc_colours
from ssc.interop.exports.masks import Mask, regions, run_lengths
from ssc.runtime.files import write_json, write_text


def write_cvat(folder: Path, masks: Iterable[Mask], classes: Sequence[str], *, split: str) -> None:
    """Write `annotations.xml`, to be uploaded to a task whose labels are those of `labels.json`.

    A mask is its bounding box in pixels, and lengths of runs in it, row by row: outside, inside and so on.
    """
    colours = voc_colours()
    labels = [
        {"name": name, "color": colours[k], "type": "any", "attributes": []} for k, name in enumerate(classes, start=1)
    ]
    write_json(folder / "labels.json", labels)
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "name").text = split
    definitions = ElementTree.SubElement(task, "labels")
    for label in labels:
        definition = ElementTree.SubElement(definitions, "label")
        for key in ("name", "color", "type"):
            ElementTree.SubElement(definition, key).text = label[key]
        ElementTree.SubElement(definition, "attributes")
    for number, mask in enumerate(masks):
        height, width = mask.labels.shape
        size = {"width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", id=str(number), name=mask.photo, **size)
        for region in regions(mask.labels):
            h, w = region.shape.shape
            box = {"left": region.left, "top": region.top, "width": w, "height": h, "z_order": 0}
            ElementTree.SubElement(
                image,
                "mask",
                label=classes[region.label - 1],
                source="auto",
                occluded="0",
                rle=", ".join(map(str, run_lengths(region.shape).tolist())),
                **{key: str(value) for key, value in box.items()},
            )
    ElementTree.indent(root)
    write_text(folder / "annotations.xml", ElementTree.tostring(root, encoding="unicode") + "\n")
