"""Bad inputs, each with the message that refuses it: one table for unit tests, the workflow's tests and `make chaos`.

Every case is told before the work begins: neither an index nor anything else appears under the data set's name.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from tests.faults.snakemake import TINY

NAME = "mine"
"""Name of the data set that the cases spoil; results/<this> is where nothing may appear but logs."""

TABLE = """image,labels,split
a.jpg,cat,train
b.png,dog,train
c.jpg,cat;dog,train
d.png,,train
e.jpg,cat,val
f.png,dog,val
"""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: what is wrong.
        message: part of what is told.
        config: laid over tests/workflow/tiny.yaml, or the bytes of a configuration file.
        spoil: what is done to a good data set, `photos/` of `write_photos`, whose folder it gets; None for a case that
            needs none.
    """

    name: str
    message: str
    config: dict | bytes = field(default_factory=dict)
    spoil: Callable[[Path], None] | None = None

    def prepare(self, folder: Path) -> list[str]:
        """Write what the case needs into the folder in which the workflow runs; the arguments for `snakemake`."""
        if self.spoil:
            shutil.rmtree(folder / "photos", ignore_errors=True)
            write_photos(folder / "photos")
            self.spoil(folder / "photos")
        config = self.config
        if isinstance(config, dict):
            config = yaml.safe_dump(config, allow_unicode=True).encode()
        (folder / "bad.yaml").write_bytes(config)
        return ["--configfile", str(base(folder, self.config)), str(folder / "bad.yaml")]


def base(folder: Path, config: dict | bytes) -> Path:
    """What a configuration is laid over: tiny.yaml, without its data set where the configuration has one of its own."""
    if isinstance(config, bytes) or "kind" not in (config.get("dataset") or {}):
        return TINY
    rest = {key: value for key, value in yaml.safe_load(TINY.read_text()).items() if key != "dataset"}
    (folder / "base.yaml").write_text(yaml.safe_dump(rest))
    return folder / "base.yaml"


def write_photos(folder: Path) -> None:
    """A good data set of six photos and masks: `images/`, `masks/`, `labels.csv`."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for line in TABLE.splitlines()[1:]:
        name, labels, _ = line.split(",")
        shown = [0, *(("cat", "dog").index(label) + 1 for label in labels.split(";") if label)]
        save(folder / "images" / name, rng.integers(0, 256, (36, 48, 3), np.uint8))
        save(folder / "masks" / f"{name[0]}.png", rng.choice(shown, (36, 48)).astype(np.uint8))
    (folder / "labels.csv").write_text(TABLE)


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    """Save pixels as an image; the format is that of the name."""
    Image.fromarray(pixels).save(path, **options)


# Configurations


def data(**changes: object) -> dict:
    """Configuration of the folder `photos`."""
    own = {"name": NAME, "kind": "folder", "root": "photos", "masks": "masks"}
    return {"dataset": {**own, **changes}}


def setting(path: str, value: object) -> dict:
    """Configuration with the value under a dotted key."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def config_case(name: str, path: str, value: object, message: str) -> Case:
    return Case(name, message, setting(path, value))


CONFIGS = [
    config_case("unknown key", "clasifier.lr", 1, "unknown key 'clasifier'; did you mean 'classifier'?"),
    config_case(
        "unknown key of a section",
        "classifier.drs.dleta",
        1,
        "unknown key 'classifier.drs.dleta'; did you mean 'delta'",
    ),
    config_case(
        "unknown key of an experiment",
        "experiments.x.irn.radios",
        4,
        "experiments.x.irn.radios'; did you mean 'radius'",
    ),
    config_case(
        "wrong type in an experiment",
        "experiments.x.irn.epochs",
        [3],
        "experiments.x.irn.epochs: [3] should be a whole",
    ),
    config_case("negative", "classifier.lr", -1, "classifier.lr: -1 should be greater than 0"),
    config_case("text for a number", "classifier.lr", "fast", "classifier.lr: 'fast' should be a number"),
    config_case("part of an epoch", "irn.epochs", 1.5, "irn.epochs: 1.5 should be a whole number"),
    config_case("empty batch", "irn.batch_size", 0, "irn.batch_size: 0 should be greater than or equal to 1"),
    config_case("no shards", "shards", 0, "shards: 0 should be greater than or equal to 1"),
    config_case("some shards", "shards", "some", "shards: 'some' should be a whole number"),
    config_case("a shard per atom", "shards", 10**9, "shards: 1000000000 should be less than or equal to 10000"),
    config_case("empty list", "cams.scales", [], "cams.scales: [] should have at least 1 item"),
    config_case("not a number", "classifier.lr", float("nan"), "classifier.lr: nan should be a finite number"),
    config_case("infinite", "pseudo_labels.beta", float("inf"), "pseudo_labels.beta: inf should be a finite number"),
    config_case("not a number, as text", "irn.lr", "nan", "irn.lr: 'nan' should be a finite number"),
    config_case("section is null", "segmentation", None, "segmentation is empty"),
    config_case("section is a list", "classifier", [1], "classifier: [1] should be a section"),
    config_case("crop and stride", "classifier.crop", 50, "classifier.crop: 50 is no multiple of the output stride 8"),
    config_case("crop and radius", "irn.radius", 10, "irn.crop: 48 is too small for radius 10; take 76 or more"),
    config_case("stride of the network", "irn.output_stride", 32, "irn.output_stride: tiny has 4, 8, 16, not 32"),
    config_case("range upside down", "classifier.resize_long", [64, 48], "classifier.resize_long: 64 is above 48"),
    config_case("a threshold of no kind", "seeds.threshold", "otto", "seeds.threshold: 'otto' is neither a number"),
    config_case("an empty threshold", "seeds.threshold", None, "seeds.threshold is empty"),
    config_case("thresholds upside down", "seeds.thresholds", [0.2, 0.1], "seeds.thresholds: the values must ascend"),
    config_case("unknown experiment", "experiment", "nothing", "'nothing' is not among experiments"),
    config_case("experiment named as a folder", "experiments.masks", {}, "results/<data set>/masks holds shared files"),
    config_case("shared key in an experiment", "experiments.x.shards", 3, "experiments.x.shards is common to all"),
    config_case(
        "sweep over nothing",
        "ablation.sweeps.s",
        {"key": "irn.no", "values": [1]},
        "unknown key 'experiments.s_1.irn.no'",
    ),
    config_case(
        "command in the data set's name", "dataset.name", "a; touch x", "dataset.name: 'a; touch x' should match"
    ),
    config_case("way out in the data set's name", "dataset.name", "../up", "dataset.name: '../up' should match"),
    config_case("line break in the data set's name", "dataset.name", "tiny\n", "dataset.name: 'tiny\\n' holds a line"),
    config_case("command in an experiment's name", "experiment", "$(touch x)", "experiment: '$(touch x)' should match"),
    config_case(
        "wildcard in a path", "classifier.weights", "{x}.safetensors", "'{x}.safetensors' holds a curly bracket"
    ),
    config_case("key is no text", "experiments", {False: {}}, "key False under experiments is no text; quote it"),
    Case("root is empty", "dataset.root is empty", data(root="")),
    Case("kind is not named", "dataset.root is a key of kind voc and folder", {"dataset": {"root": "photos"}}),
    Case("key of another kind", "dataset.sbd is a key of kind voc, not of folder", data(sbd="sbd")),
    config_case("key that moved", "experiments.x.cams.folder", "cams", "experiments.x.cams.folder is now ready.cams"),
    Case(
        "root is a command",
        "The folder photos/$(touch x)/images does not exist",
        data(root="photos/$(touch x)", masks=None),
    ),
    Case("download of one's own", "dataset.root: there is no download of kind folder", data(root="download")),
    Case("repeated key", "bad.yaml, line 2: the key 'shards' stands there twice", b"shards: 2\nshards: 3\n"),
    Case("repeated key of a section", "line 3: the key 'lr' stands", b"irn:\n  lr: 1\n  lr: 2\n"),
    Case(
        "unknown key of a sweep", "did you mean 'values'", setting("ablation.sweeps.s", {"key": "irn.lr", "value": [1]})
    ),
]

# What Snakemake refuses itself, before or after it reads the rules.
SNAKEMAKES = [
    Case(
        "weights that are absent",
        "$(touch x)/no.safetensors",
        setting("classifier.weights", "$(touch x)/no.safetensors"),
    ),
    config_case("device that is not there", "device", "cuda:97", "device is 'cuda:97', but"),
    config_case("weights that are none", "irn.weights", "bad.yaml", "irn.weights: bad.yaml is not a readable saf"),
    Case("empty configuration", "with keys at top level", b""),
    Case("configuration is a list", "with keys at top level", b"- shards\n"),
    Case("configuration is a text", "with keys at top level", b"two shards, please\n"),
    Case("tab in the configuration", "not valid JSON or YAML", b"irn:\n\tepochs: 3\n"),
    Case("bracket left open", "not valid JSON or YAML", b"irn: {epochs: 3\n"),
    Case("code in the configuration", "not valid JSON or YAML", b'!!python/object/apply:os.system ["touch x"]\n'),
]

# Tables of labels


def table(old: str, new: str) -> Callable[[Path], None]:
    """Change of the table of labels."""

    def spoil(photos: Path) -> None:
        assert old in TABLE
        (photos / "labels.csv").write_text(TABLE.replace(old, new), encoding="utf-8", newline="")

    return spoil


def table_case(name: str, old: str, new: str, message: str, **changes: object) -> Case:
    return Case(name, message, data(**changes), table(old, new))


def unlabelled(photos: Path) -> None:
    (photos / "classes.txt").write_text("cat\ndog\n")
    (photos / "labels.csv").write_text("image,labels,split\na.jpg,,train\ne.jpg,,val\n")


def unlisted(photos: Path) -> None:
    (photos / "classes.txt").write_text("cat\ndog\n")
    (photos / "labels.csv").write_text("image,labels,split\n")


def named_twice(photos: Path) -> None:
    save(photos / "images" / "a.png", np.zeros((36, 48, 3), np.uint8))
    table("b.png", "a.png")(photos)


def in_capitals(photos: Path) -> None:
    shutil.copy(photos / "images" / "a.jpg", photos / "images" / "a.JPG")
    table("a.jpg", "A.jpg")(photos)


def numbered(photos: Path) -> None:
    (photos / "labels.csv").write_text(TABLE.replace("cat", "1").replace("dog", "2"))


def many_classes(photos: Path) -> None:
    (photos / "classes.txt").write_text("cat\ndog\n" + "".join(f"class {k}\n" for k in range(298)))


def named_by_photo(photos: Path) -> None:
    (photos / "labels.csv").write_text(
        "image,labels\n" + "".join(f"{path.name},{path.stem}\n" for path in sorted((photos / "images").iterdir()))
    )


def other_list(photos: Path) -> None:
    (photos / "classes.txt").write_text("cats\ndog\n")


TABLES = [
    Case("no table", "labels.csv does not exist", data(), lambda photos: (photos / "labels.csv").unlink()),
    Case("empty table", "labels.csv begins with ''", data(), lambda photos: (photos / "labels.csv").write_text("")),
    Case("table is a folder", "labels.csv cannot be read", data(), lambda p: no_folder_but(p / "labels.csv")),
    table_case(
        "columns of another table", "image,labels,split", "url,labels,split", "expected the names of its columns"
    ),
    table_case("no names of columns", "image,labels,split\n", "", "begins with 'a.jpg,cat,train'; expected the names"),
    table_case("misspelt column", "image,labels,split", "image,labels,splits", "has the column 'splits'"),
    table_case("semicolons between the cells", "a.jpg,cat,train", "a.jpg;cat;train", "line 2: expected 3 cells"),
    table_case("open quote", "a.jpg,", '"a.jpg"x,', "labels.csv is not a valid CSV"),
    Case(
        "table in Latin-1", "labels.csv is not UTF-8", data(), lambda p: (p / "labels.csv").write_bytes(b"image,\xe4")
    ),
    table_case("label without image", "b.png,", "gone.png,", "images/gone.png does not exist"),
    Case("photos whose names look alike", "line 2: A.jpg may be any of a.JPG, a.jpg", data(), in_capitals),
    Case("two photos of one id", "image id 'a' is taken by", data(), named_twice),
    table_case("photo in two splits", "e.jpg,cat,val", "a.jpg,cat,val", "line 6: a.jpg is of split train in line 2"),
    table_case("class in the plural", "b.png,dog", "b.png,dogs", "line 3: 'dogs' beside 'dog'"),
    table_case("no class", "d.png,", "d.png,none", "line 5: 'none' is no class; leave the cell empty"),
    table_case("not known", "d.png,", "d.png,nan", "line 5: 'nan' is no class"),
    table_case("marker of a labelling tool", "d.png,", "d.png,__ignore__", "'__ignore__' is no class"),
    Case("numbers for names", "the labels are numbers (1, 2)", data(), numbered),
    Case("more classes than values", "The data set has 300 classes", data(masks=None), many_classes),
    Case(
        "file names for labels", "each of the 6 classes has one training photo alone", data(masks=None), named_by_photo
    ),
    table_case("unknown split", "cat,val", "cat,valid", "unknown split 'valid'; use one of train, val, test"),
    Case(
        "unknown class", "lines 2, 4, 6: class 'cat' is not in the class list; did you mean 'cats'", data(), other_list
    ),
    table_case("no training image", ",train", ",test", "The data set has no training image"),
    table_case("nothing to predict", ",val", ",test", "Split 'val' has no image"),
    Case(
        "nothing to predict for an experiment",
        "Split 'test' has no image",
        data() | {"experiment": "own", "experiments": {"own": {"prediction": {"split": "test"}}}},
        lambda photos: None,
    ),
    Case("table without lines", "The data set has no training image", data(masks=None), unlisted),
    Case("no labels at all", "No training image has a label", data(masks=None), unlabelled),
    table_case("image above the folder", "a.jpg", "../images/a.jpg", "is no path below the images folder"),
    table_case("image from the root", "a.jpg", "/etc/passwd", "is no path below the images folder"),
    Case("no folder of photos", "The folder photos/other does not exist", data(images="other"), lambda photos: None),
    Case("no folder of masks", "The folder photos/other does not exist", data(masks="other"), lambda photos: None),
    Case("no class list", "other.txt does not exist", data(classes="other.txt"), lambda photos: None),
]


def odd_name(name: str, message: str = "is not a safe member name") -> Callable[[Path], None]:
    """Rename a photo so that its id is no plain name."""

    def spoil(photos: Path) -> None:
        (photos / "images" / "a.jpg").rename(photos / "images" / name)
        table("a.jpg", f'"{name}"')(photos)

    return spoil


NAMES = [
    Case("line break in a name", "holds a line break or another control", data(masks=None), odd_name("a\nb.jpg")),
    Case("tab in a name", "holds a line break or another control", data(masks=None), odd_name("a\tb.jpg")),
    Case("escape in a name", "holds a line break or another control", data(masks=None), odd_name("a\x1b[2Jb.jpg")),
    Case("backslash in a name", "is no path below the images folder", data(masks=None), odd_name("..\\b.jpg")),
]

# Photos


def photo_case(name: str, message: str, spoil: Callable[[Path], None], **changes: object) -> Case:
    """A case in which a change was made to the JPEG a.jpg, whose path `spoil` gets."""
    return Case(name, message, data(masks=None, **changes), lambda photos: spoil(photos / "images" / "a.jpg"))


def cut(path: Path, share: float = 0.6) -> None:
    """Leave the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def bomb(path: Path, side: int = 60_000) -> None:
    """A PNG of a few bytes that says to have `side` x `side` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def film(path: Path, kind: str = "gif") -> None:
    """Several pictures in one file."""
    first, second = (Image.new("RGB", (48, 36), colour) for colour in ("red", "blue"))
    first.save(path, kind, save_all=True, append_images=[second])


def preview_only(path: Path) -> None:
    """A JPEG that was cut behind its preview, so that the end mark of the preview is the last thing in it."""
    content = path.read_bytes()
    preview = b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content
    path.write_bytes(content[:2] + preview + content[2 : content.index(b"\xff\xda") + 20])


def several_bad(path: Path) -> None:
    for name in ("a.jpg", "c.jpg", "e.jpg"):
        (path.parent / name).write_bytes(b"")


def no_folder_but(path: Path) -> None:
    path.unlink()
    path.mkdir()


PHOTOS = [
    photo_case("photo is a folder", "photos/images/a.jpg does not exist", no_folder_but),
    photo_case(
        "photo is a link to nothing", "a.jpg does not exist; restore it", lambda p: (p.unlink(), p.symlink_to("no"))
    ),
    photo_case("empty photo", "a.jpg cannot be read (it is empty)", lambda path: path.write_bytes(b"")),
    photo_case("photo is a text", "a.jpg cannot be read (cannot identify image", lambda path: path.write_text("photo")),
    photo_case("photo is zeros", "a.jpg cannot be read (cannot identify", lambda path: path.write_bytes(bytes(5000))),
    photo_case("cut JPEG", "a.jpg cannot be read (image file is truncated", cut),
    photo_case("JPEG cut to its preview", "a.jpg cannot be read (image file is truncated", preview_only),
    photo_case("JPEG cut in its header", "a.jpg cannot be read (", lambda path: cut(path, 0.02)),
    Case("cut PNG", "b.png cannot be read (", data(masks=None), lambda photos: cut(photos / "images" / "b.png")),
    photo_case(
        "cut WebP", "a.jpg cannot be read (", lambda p: (save(p, np.eye(48, dtype=np.uint8), format="webp"), cut(p))
    ),
    photo_case(
        "cut TIFF", "a.jpg cannot be read (", lambda p: (save(p, np.eye(48, dtype=np.uint8), format="tiff"), cut(p))
    ),
    photo_case("one pixel", "a.jpg has 1x1 pixels, fewer than 16", lambda p: save(p, np.zeros((1, 1, 3), np.uint8))),
    photo_case("a line", "a.jpg has 400x3 pixels, fewer than 16", lambda p: save(p, np.zeros((3, 400, 3), np.uint8))),
    photo_case("large photo", "more than dataset.max_pixels (1,024)", lambda path: None, max_pixels=1024),
    photo_case("image bomb", "a.jpg cannot be read (Image size (3600000000 pixels) exceeds limit", bomb),
    photo_case(
        "smaller image bomb", "12000x12000 pixels, more than dataset.max_pixels", lambda path: bomb(path, 12_000)
    ),
    photo_case("moving GIF", "a.jpg holds several pictures (GIF)", film),
    photo_case("moving PNG", "a.jpg holds several pictures (PNG)", lambda path: film(path, "png")),
    photo_case("TIFF of two pages", "a.jpg holds several pictures (TIFF)", lambda path: film(path, "tiff")),
    photo_case("whole numbers", "in 32 bits or in", lambda p: save(p, np.zeros((36, 48), np.int32), format="tiff")),
    photo_case("fractions", "floating point", lambda p: save(p, np.zeros((36, 48), np.float32), format="tiff")),
    photo_case("LAB colours", "colours of the kind LAB", lambda p: Image.new("LAB", (48, 36)).save(p, "tiff")),
    photo_case(
        "PostScript", "a.jpg cannot be read (cannot identify", lambda p: Image.new("RGB", (48, 36)).save(p, "eps")
    ),
    photo_case("several bad photos", "3 of 6 images cannot be used", several_bad),
]

# Masks


def mask_case(name: str, message: str, spoil: Callable[[Path], None]) -> Case:
    """A case in which a change was made to the mask a.png, whose path `spoil` gets."""
    return Case(name, message, data(), lambda photos: spoil(photos / "masks" / "a.png"))


def turned_photo(path: Path) -> None:
    """The photo of the mask is turned by its EXIF orientation, the mask is not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path.parents[1] / "images" / "a.jpg", np.zeros((36, 48, 3), np.uint8), exif=exif)


def painted(values: dict[int, int]) -> Callable[[Path], None]:
    """Write other values into all masks."""

    def spoil(photos: Path) -> None:
        for mask in sorted((photos / "masks").iterdir()):
            labels = np.asarray(Image.open(mask))
            save(mask, np.array([values.get(value, value) for value in range(256)], np.uint8)[labels])

    return spoil


def corrected_case(name: str, file: str, message: str) -> Case:
    def spoil(photos: Path) -> None:
        (photos / "mended").mkdir()
        save(photos / "mended" / file, np.full((36, 48), 3, np.uint8))

    return Case(name, message, {**data(), "pseudo_labels": {"corrected": "photos/mended"}}, spoil)


def no_mask_fits(photos: Path) -> None:
    for mask in sorted((photos / "masks").iterdir()):
        mask.rename(mask.with_name(f"mask_{mask.name}"))


MASKS = [
    corrected_case("corrected mask of no photo", "z.png", "photos/mended/z.png is of no photo"),
    corrected_case("corrected mask of no class", "a.png", "photos/mended/a.png holds the label 3; use 0..2 and 255"),
    mask_case("mask of another size", "a.png is 40x36, its photo", lambda p: save(p, np.zeros((36, 40), np.uint8))),
    mask_case("mask of the unturned photo", "a.png is 48x36, its photo photos/images/a.jpg 36x48", turned_photo),
    mask_case("coloured mask", "a.png has the colour #010101", lambda path: save(path, np.ones((36, 48, 3), np.uint8))),
    mask_case("16-bit mask", "a.png has mode I;16", lambda path: save(path, np.zeros((36, 48), np.uint16))),
    mask_case("JPEG mask", "is not a readable image", lambda p: save(p, np.zeros((36, 48), np.uint8), format="jpeg")),
    mask_case("mask is a text", "a.png is not a readable image", lambda path: path.write_text("mask")),
    mask_case("empty mask", "a.png is not a readable image", lambda path: path.write_bytes(b"")),
    mask_case("mask is a bomb", "a.png is not a readable image (Image size", bomb),
    mask_case(
        "mask is a link to nothing", "a.png does not exist; restore it", lambda p: (p.unlink(), p.symlink_to("no"))
    ),
    Case("no mask of any photo", "photos/masks holds no mask of a photo", data(), no_mask_fits),
    Case(
        "black and white masks", "No mask shows a class: photos/masks/a.png holds 0", data(), painted({1: 255, 2: 255})
    ),
    Case("masks of another order", "4 of 6 masks contradict their photos' labels", data(), painted({1: 2, 2: 1})),
    Case("masks of other classes", "a.png of a holds 15, which is no class", data(), painted({1: 15})),
]

# Published formats


def coco(content: object) -> Callable[[Path], None]:
    """Write an instances JSON beside the photos."""
    return lambda photos: (photos / "instances.json").write_text(json.dumps(content))


def instances(**changes: object) -> dict:
    found = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 36, "width": 48}],
        "annotations": [{"image_id": 1, "category_id": 7, "iscrowd": 0, "segmentation": [[0, 0, 9, 0, 9, 9]]}],
        "categories": [{"id": 7, "name": "cat"}],
    }
    return {**found, **changes}


def coco_data(**changes: object) -> dict:
    files = {"train_images": "photos/images", "train_instances": "photos/instances.json"}
    return {"dataset": {"name": NAME, "kind": "coco", **files, **changes}}


SAME = {"val_images": "photos/images", "val_instances": "photos/instances.json"}
GONE = [{"id": 1, "file_name": "gone.jpg", "height": 36, "width": 48}]
BROKEN = [{"id": 1, "file_name": "a\ud800.jpg", "height": 36, "width": 48}]
FLAT = {"id": 1, "file_name": "a.jpg", "height": 0, "width": 48}


def outlined(segmentation: object) -> Callable[[Path], None]:
    """Write an instances JSON of one annotation."""
    return coco(
        instances(annotations=[{"id": 5, "image_id": 1, "category_id": 7, "iscrowd": 0, "segmentation": segmentation}])
    )


UNKNOWN = [{"image_id": 1, "category_id": 8, "iscrowd": 0, "segmentation": []}]

FORMATS = [
    Case(
        "COCO JSON is cut",
        "instances.json is not valid JSON",
        coco_data(),
        lambda p: (p / "instances.json").write_text("{"),
    ),
    Case("COCO JSON is a list", "holds no JSON object", coco_data(), coco([])),
    Case("COCO entries are numbers", "an entry of 'images' lacks", coco_data(), coco(instances(images=[1]))),
    Case(
        "COCO photo is missing",
        "gone.jpg of photos/instances.json is not in",
        coco_data(),
        coco(instances(images=GONE)),
    ),
    Case(
        "COCO category is unknown",
        "annotation number 0: its category 8 is not in",
        coco_data(),
        coco(instances(annotations=UNKNOWN)),
    ),
    Case("COCO image without a size", "image 1: its size is 48x0", coco_data(), coco(instances(images=[FLAT]))),
    Case("COCO polygon of two corners", "annotation 5: a polygon is no list", coco_data(), outlined([[0, 0, 9, 0]])),
    Case("COCO coordinate is a text", "annotation 5: a coordinate", coco_data(), outlined([[0, 0, 9, 0, 9, "9"]])),
    Case(
        "COCO run lengths end early",
        "annotation 5: its run lengths do not add up to the image's 1728 pixels",
        coco_data(),
        outlined({"size": [36, 48], "counts": [1000, 700]}),
    ),
    Case(
        "COCO run lengths are of another image",
        "annotation 5: its run lengths are of the size [48, 36] in an image of [36, 48]",
        coco_data(),
        outlined({"size": [48, 36], "counts": [1728]}),
    ),
    Case("COCO trains on its validation", "a photo belongs to one of them", coco_data(**SAME), coco(instances())),
    Case("COCO without validation JSON", "set both or neither", coco_data(val_images="photos"), coco(instances())),
    Case(
        "VOC is not there", "set the path to the folder", {"dataset": {"name": NAME, "kind": "voc", "root": "photos"}}
    ),
    Case("VOC is not named", "dataset.root is empty", {"dataset": {"name": NAME, "kind": "voc", "root": None}}),
]

CASES = [*CONFIGS, *SNAKEMAKES, *TABLES, *NAMES, *PHOTOS, *MASKS, *FORMATS]
