"""Label Studio's tasks with brush masks as predictions: one per image and class."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np

from ssc.constants import voc_colours
from ssc.interop.exports.masks import Mask, run_lengths
from ssc.runtime.files import write_text

_SIZES = (3, 4, 8, 16)  # bits that a run's length may take
_LONGEST = 1 << _SIZES[-1]


def write_label_studio(folder: Path, masks: Iterable[Mask], classes: Sequence[str], *, split: str) -> None:
    """Write `tasks.json`, to be imported, and `label_config.xml`, the labelling interface that its names refer to.

    The photos are local files below the folder, which is Label Studio's document root.
    """
    tasks = []
    for mask in masks:
        height, width = mask.labels.shape
        shared = {"type": "brushlabels", "from_name": "mask", "to_name": "image", "image_rotation": 0}
        shared |= {"original_width": width, "original_height": height}
        result = [
            {"id": str(k), **shared, "value": {"format": "rle", "rle": brush(mask.labels == k), "brushlabels": [name]}}
            for k, name in enumerate(classes, start=1)
            if (mask.labels == k).any()
        ]
        data = {"id": mask.id, "split": split, "image": f"/data/local-files/?d={quote(f'images/{mask.photo}')}"}
        tasks.append({"data": data, "predictions": [{"model_version": "ssc", "result": result}]})
    write_text(folder / "tasks.json", json.dumps(tasks))
    write_text(folder / "label_config.xml", _interface(classes))


def brush(mask: np.ndarray) -> list[int]:
    """A mask (H, W) bool as the bytes of Label Studio's run-length encoding.

    It is a stream of bits: the number of values (32), the size of a value less one (5), and four sizes that a length
    may have, each less one (4); then run by run a 1, which of the sizes (2), the length less one, and the value. Values
    are 0 or 255, four of them for each pixel: red, green, blue, opacity.
    """
    bits = [f"{4 * mask.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for number, length in enumerate((4 * run_lengths(mask)).tolist()):
        for start in range(0, length, _LONGEST):
            more = min(length - start, _LONGEST) - 1
            which = next(k for k, size in enumerate(_SIZES) if more < 1 << size)
            bits.append(f"1{which:02b}{more:0{_SIZES[which]}b}{255 * (number % 2):08b}")
    stream = "".join(bits)
    count = -(-len(stream) // 8)
    return list(int(stream.ljust(8 * count, "0"), 2).to_bytes(count))


def _interface(classes: Sequence[str]) -> str:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    labels = ElementTree.SubElement(view, "BrushLabels", name="mask", toName="image")
    colours = voc_colours()
    for k, name in enumerate(classes, start=1):
        ElementTree.SubElement(labels, "Label", value=name, background=colours[k])
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"
