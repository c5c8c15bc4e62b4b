"""PASCAL VOC's layout: palette PNGs, which carry label maps as they are."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ssc.archive import encode_labels
from ssc.constants import IGNORE, voc_palette
from ssc.interop.exports.masks import Mask
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_text


def write_voc(folder: Path, masks: Iterable[Mask], classes: Sequence[str], *, split: str) -> None:
    """Write `SegmentationClass/<id>.png`, `ImageSets/Segmentation/<split>.txt` and `labelmap.txt`.

    The last has a class and its colour a line, as CVAT and Datumaro read it: `background`, the classes, `ignored`.

    Raises:
        InputError: a class has a name that `labelmap.txt` cannot hold.
    """
    if wrong := next((name for name in classes if ":" in name or name[0] == "#" or name == "ignored"), None):
        raise InputError(f"VOC's labelmap.txt cannot hold the class {wrong!r}; rename it, or choose another format.")
    palette = voc_palette()
    named = [*enumerate(["background", *classes]), (IGNORE, "ignored")]
    lines = [f"{name}:{','.join(map(str, palette[3 * label : 3 * label + 3]))}::\n" for label, name in named]
    write_text(folder / "labelmap.txt", "".join(["# label:color_rgb:parts:actions\n", *lines]))
    ids = []
    for mask in masks:
        ids.append(mask.id)
        path = folder / "SegmentationClass" / f"{mask.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_labels(mask.labels))
    write_text(folder / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(f"{name}\n" for name in ids))
