"""Photos from files, folders and patterns to masks in a folder: the work of `ssc predict`."""

import csv
import glob
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ssc.archive import encode_labels
from ssc.data.folder import files_below, own_photos
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic, write_text
from ssc.runtime.outputs import check_outputs, note_output
from ssc.runtime.progress import track
from ssc.segmenter import Segmenter

_TABLE = "predictions.csv"
_COLUMNS = ("photo", "mask", "class", "colour", "area", "confidence")


def find_photos(sources: Iterable[str | Path], *, out: str | Path) -> dict[str, Path]:
    """Photos by the names that their results get, without ending.

    Args:
        sources: files, folders, whose photos in any depth are taken under their path below it, and patterns with `*`.
        out: folder for the results; it is none of the folders of photos, nor in one, so that no result is a photo.

    Raises:
        InputError: a source does not exist or holds no photo, is above `out`, or two photos would get one name.
    """
    found: dict[str, Path] = {}
    for source in map(Path, sources):
        if source.is_dir():
            if Path(out).resolve().is_relative_to(source.resolve()):
                raise InputError(
                    f"{out} lies in {source}, whose pictures are all taken for photos; name a folder outside."
                )
            below = files_below(source)
            files = {Path(name): below[name] for name in own_photos(below)}
        elif source.is_file():
            files = {Path(source.name): source}
        else:
            named = map(Path, sorted(glob.glob(str(source))))  # noqa: PTH207, whose glob takes no absolute pattern
            files = {Path(path.name): path for path in named if path.is_file()}
        if not files:
            fault = "holds no photo" if source.is_dir() else "does not exist"
            raise InputError(f"{source} {fault}; name a photo, or a folder of photos.")
        for name, path in sorted(files.items()):
            other = found.setdefault(name.with_suffix("").as_posix(), path)
            if other.resolve() != path.resolve():
                raise InputError(
                    f"The results of {other} and {path} would have one name; name their folder, or rename one."
                )
    return found


def segment_files(
    segmenter: Segmenter, photos: dict[str, Path], out: str | Path
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Write `<name>.png`, a palette mask, and `<name>_overlay.png` of each photo, and the table `predictions.csv`.

    The table is of this call. It has a line for each class that a photo shows: its colour, its area, a share of the
    photo, and its confidence, the mean probability at its pixels. A photo that cannot be read is passed over.

    Args:
        segmenter: the network.
        photos: see `find_photos`.
        out: folder to write to; `check_segment_files` says whether it is free.

    Returns:
        By name, the classes that each photo shows, and what is wrong with each that was passed over.
    """
    out, lines, shown, broken = Path(out), [], {}, {}
    for name, path in track(photos.items(), "photos"):
        try:
            found = segmenter.predict(path)
        except InputError as error:
            broken[name] = str(error)
            continue
        mask, picture = out / f"{name}.png", out / f"{name}_overlay.png"
        with atomic(mask) as temporary:
            temporary.write_bytes(encode_labels(found.labels))
        with atomic(picture) as temporary:
            Image.fromarray(found.overlay).save(temporary, "png")
        for written in (mask, picture):
            note_output(written, command="predict")
        regions = list(found.regions())
        lines += [
            (str(path), f"{name}.png", label, colour, f"{area:.4f}", f"{confidence:.4f}")
            for label, area, confidence, colour in regions
        ]
        shown[name] = [label for label, *_ in regions if label != "background"]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([_COLUMNS, *lines])
    write_text(out / _TABLE, table.getvalue())
    note_output(out / _TABLE, command="predict")
    return shown, broken


def check_segment_files(photos: dict[str, Path], out: str | Path, *, force: bool = False) -> None:
    """Check that `segment_files` would replace nothing but its own results.

    Raises:
        InputError: see `ssc.runtime.outputs.check_outputs`.
    """
    names = [f"{name}{end}.png" for name in photos for end in ("", "_overlay")]
    paths = [Path(out) / name for name in [*names, _TABLE]]
    check_outputs(paths, command="predict", force=force, inputs=photos.values())
