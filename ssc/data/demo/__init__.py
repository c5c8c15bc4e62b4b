"""The demo data set "creatures": drawn scenes with exact masks, for runs that need no download.

The scenes embody what makes image-level supervision hard. A creature's small head has the colour and shape of
its class; its larger body, legs and tail only lean towards the class in hue and share their patterns (plain,
striped, spotted) with the other classes, so that class activation maps light the head and miss the body. The
ground goes with the class in one scene of four, so that they spill as well. Heads turned away, trunks in
front and rocks in body colours do the rest. The masks serve evaluation only.

The pixels are the same bytes on every machine: the only random source is PCG64, read as uniform doubles, and
every value that reaches a pixel comes from +, -, *, / and comparisons, which IEEE 754 rounds in one way only.
So there is no sin, exp or pow, no FFT and no matrix product. The PNG files are the same, too, where Pillow
compresses with the same library.
"""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from ssc.constants import voc_palette
from ssc.data.demo.creatures import CLASS_NAMES, Creature, compose
from ssc.data.demo.drawing import draw
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json, write_text
from ssc.runtime.parallel import parallel_map

VERSION = 1
"""Changes whenever the pixels of any scene change."""

MIN_SIZE = 32
MIN_VISIBLE = 0.004
"""Share of the scene that each of its classes shows at least: 37 pixels of a scene of 96 x 96."""

MARKER = "demo.json"
"""Holds the arguments of `generate`; a folder with this file is a demo data set and may be replaced."""


def generate(
    out: Path,
    *,
    train: int = 500,
    val: int = 200,
    size: int = 96,
    classes: int = 4,
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Write the demo data set to the folder `out`, in the layout of a user's own photos.

    `images/<id>.png` (RGB), `masks/<id>.png` (palette PNG, 0 background, k the k-th class), `labels.csv`
    (image file name; names of the classes visible in it, joined by `;`; train or val), `classes.txt` (one
    name a line) and `demo.json` (the arguments). The folder appears under its name only when it is complete,
    and replaces a demo data set of that name. No scene depends on how many there are: the training split
    takes the even indices of `scene`, the validation split the odd ones. `threads` scenes are drawn at the same time.

    Raises:
        InputError: an argument is out of range, or `out` holds files but is no demo data set.
    """
    _check(size, classes, seed)
    if train < 1 or val < 1:
        raise InputError(f"The demo needs at least one scene in each split, not train={train} and val={val}.")
    out = Path(out).resolve()
    if out.exists() and not _is_replaceable(out):
        raise InputError(f"{out} holds other files than a demo data set; name another folder for the demo.")

    partial, replaced = (out.with_name(f".{out.name}.{os.getpid()}.{word}") for word in ("partial", "replaced"))
    try:
        _write(partial, {"train": train, "val": val}, size=size, classes=classes, seed=seed, threads=threads)
        if out.exists():
            out.rename(replaced)
        partial.rename(out)
    finally:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        for leftover in (partial, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def scene(index: int, *, size: int = 96, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw scene `index`, a pure function of the arguments.

    Returns the image, uint8 (size, size, 3) RGB, and its mask, uint8 (size, size), 0 background and
    1..classes. One or two classes are visible, each on at least `MIN_VISIBLE` of the scene.

    Raises:
        InputError: an argument is out of range.
    """
    _check(size, classes, seed)
    if index < 0:
        raise InputError(f"The scenes of the demo are numbered from 0, not {index}.")
    attempt = 0
    while True:
        rng = np.random.Generator(np.random.PCG64([VERSION, seed, index, attempt]))
        composition = compose(rng, classes)
        image, mask = draw(rng, composition, size)
        wanted = {thing.label for thing in composition.things if isinstance(thing, Creature)}
        if all(np.count_nonzero(mask == label) >= MIN_VISIBLE * mask.size for label in wanted):
            return image, mask
        attempt += 1  # a class is hidden or out of view: another try, just as reproducible


def _check(size: int, classes: int, seed: int) -> None:
    if size < MIN_SIZE:
        raise InputError(f"Demo scenes need a size of at least {MIN_SIZE} pixels, not {size}.")
    if not 1 <= classes <= len(CLASS_NAMES):
        raise InputError(f"The demo has 1 to {len(CLASS_NAMES)} classes, not {classes}.")
    if seed < 0:
        raise InputError(f"The seed of the demo must be 0 or more, not {seed}.")


def _write(folder: Path, counts: dict[str, int], *, size: int, classes: int, seed: int, threads: int) -> None:
    """Draw every scene into `folder`, which does not exist yet; `counts` are those of the splits."""
    names = CLASS_NAMES[:classes]
    palette = voc_palette()
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)

    def add(numbered: tuple[int, str, int]) -> tuple[str, str, str]:
        parity, split, number = numbered
        image, mask = scene(2 * number + parity, size=size, classes=classes, seed=seed)
        file = f"{split}_{number:04d}.png"
        Image.fromarray(image).save(folder / "images" / file, compress_level=6)
        label_map = Image.fromarray(mask)
        label_map.putpalette(palette)
        label_map.save(folder / "masks" / file, compress_level=6)
        return file, ";".join(names[label - 1] for label in np.unique(mask) if label > 0), split

    numbered = [(parity, split, k) for parity, (split, count) in enumerate(counts.items()) for k in range(count)]
    rows = [("image", "labels", "split"), *parallel_map(add, numbered, threads)]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table, lineterminator="\n").writerows(rows)
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in names))
    write_json(folder / MARKER, {"version": VERSION, **counts, "size": size, "classes": classes, "seed": seed})


def _is_replaceable(path: Path) -> bool:
    """Whether `path` is a demo data set or a folder without any file."""
    if not path.is_dir():
        return False
    return (path / MARKER).is_file() or not any(inner.is_file() for inner in path.rglob("*"))
