"""PASCAL VOC 2012, with the training images of the Semantic Boundaries Dataset (SBD) where it is given."""

from pathlib import Path
from xml.etree import ElementTree

from ssc.data.index import Index, Row, class_ids
from ssc.runtime.errors import InputError

VOC_CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip

_PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".")  # of VOC2012 below a folder that a user names
_LISTS = "ImageSets/Segmentation"


def index_voc(root: str | Path, *, sbd: str | Path | None = None, test_root: str | Path | None = None) -> Index:
    """Index VOC 2012 for semantic segmentation, in its official layout.

    The training split is (VOC train + SBD train + SBD val) minus VOC val: 10,582 images, or the 1,464 of VOC
    train without SBD (paper, section IV-A). Image labels come from the XML annotations, difficult objects
    included. Images of VOC train and val carry their ground truth; those that only SBD lists carry none,
    because seeds and pseudo-labels are evaluated on VOC train. Test images are indexed where `test.txt`
    exists, without labels; it comes with VOC2012test, not with the training images.

    Args:
        root: folder `VOC2012`, or `VOCdevkit` that holds it, or the folder that holds `VOCdevkit`.
        sbd: folder `dataset` of SBD (with `train.txt`, `val.txt`, `img/`), or the folder that holds it.
            Photos are taken from VOC where they exist there, otherwise from SBD; labels always from VOC.
        test_root: folder of VOC2012test, at the levels of `root`; None for `root` itself.

    Raises:
        InputError: a folder, split list, photo or annotation is missing, or an annotation cannot be read.
    """
    voc = _find(root, _PLACES, f"{_LISTS}/train.txt")
    train, val = _read_list(voc / _LISTS / "train.txt"), _read_list(voc / _LISTS / "val.txt")
    held_out = voc if test_root is None else _find(test_root, _PLACES, f"{_LISTS}/test.txt")
    test = _read_list(held_out / _LISTS / "test.txt") if (held_out / _LISTS / "test.txt").exists() else set()
    masks = voc / "SegmentationClass"
    if not masks.is_dir():
        raise InputError(f"The mask folder {masks} does not exist; unpack the data set again.")
    folders = [voc / "JPEGImages"]
    segmented = train | val
    if sbd is not None:
        boundaries = _find(sbd, ("dataset", "."), "train.txt")
        train |= _read_list(boundaries / "train.txt") | _read_list(boundaries / "val.txt")
        folders.append(boundaries / "img")
    if held_out != voc:
        folders.append(held_out / "JPEGImages")
    train -= val
    photos = {}
    for folder in reversed(folders):
        photos |= _photos(folder)

    def row(image_id: str, split: str) -> Row:
        if image_id not in photos:
            looked = " or ".join(map(str, folders))
            raise InputError(f"{image_id}.jpg of the {split} list is not in {looked}; unpack the data set again.")
        mask = str(masks / f"{image_id}.png") if image_id in segmented else ""
        labels = () if split == "test" else _read_labels(voc / "Annotations" / f"{image_id}.xml")
        return Row(image_id, split, photos[image_id], mask, labels)

    splits = {"train": train, "val": val, "test": test}
    rows = [row(image_id, split) for split, ids in splits.items() for image_id in sorted(ids)]
    return Index(VOC_CLASSES, rows)


def _find(root: str | Path, places: tuple[str, ...], landmark: str) -> Path:
    for place in places:
        if (Path(root) / place / landmark).exists():
            return Path(root) / place
    tried = ", ".join(str(Path(root) / place / landmark) for place in places)
    raise InputError(f"None of {tried} exists; set the path to the folder of the unpacked data set.")


def _read_list(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        raise InputError(f"The split list {path} does not exist; unpack the data set again.") from None


def _photos(folder: Path) -> dict[str, str]:
    # One listing instead of a stat per image: on network disks that is seconds against minutes.
    if not folder.is_dir():
        raise InputError(f"The photo folder {folder} does not exist; unpack the data set again.")
    return {path.stem: str(path) for path in folder.iterdir() if path.suffix == ".jpg"}


def _read_labels(path: Path) -> tuple[int, ...]:
    try:
        annotation = ElementTree.parse(path)
    except FileNotFoundError:
        raise InputError(f"The annotation {path} does not exist; image labels are read from it.") from None
    except ElementTree.ParseError as error:
        raise InputError(f"The annotation {path} is not valid XML ({error}); unpack it again.") from None
    # Direct children only: body parts nested in a person have names too ("head", "hand").
    names = [(name.text or "").strip() for name in annotation.iterfind("object/name")]
    return class_ids(names, VOC_CLASSES, where=str(path))
