"""Photos and videos from files, folders and patterns to masks in a folder: the work of `ssc predict`."""

import csv
import glob
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ssc.archive import encode_labels
from ssc.data.folder import files_below, is_own, own_photos
from ssc.data.videos import check_video_reader, frame_count, is_video, read_frames
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic
from ssc.runtime.outputs import check_outputs, note_output
from ssc.runtime.progress import tell, track
from ssc.segmenter import Segmentation, Segmenter

_TABLE = "predictions.csv"
_COLUMNS = ("photo", "mask", "class", "colour", "area", "confidence")
_FRAME = r"\d{6,}(_overlay)?"  # what follows a video's name in the names of its frames' results


def find_photos(sources: Iterable[str | Path], *, out: str | Path) -> dict[str, Path]:
    """Photos and videos by the names that their results get, without ending; of a video, `<video>_`.

    Args:
        sources: files, folders, whose photos in any depth are taken under their path below it, and patterns with `*`.
            Videos in folders are counted and left: they may be as long as all photos together, or part of a photo.
        out: folder for the results; it is none of the folders of photos, nor in one, so that no result is a photo.

    Raises:
        InputError: a source does not exist or holds no photo, is above `out`, or is a video that cannot be read for
            want of PyAV; or two would get results of one name.
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
            if videos := sorted(name for name in below if is_video(name) and is_own(name)):
                tell(f"{len(videos)} videos of {source} are left, such as {videos[0]}; name those that are meant.")
        elif source.is_file():
            files = {Path(source.name): source}
        else:
            named = map(Path, sorted(glob.glob(str(source))))  # noqa: PTH207, whose glob takes no absolute pattern
            files = {Path(path.name): path for path in named if path.is_file()}
        if not files:
            fault = "holds no photo" if source.is_dir() else "does not exist"
            raise InputError(f"{source} {fault}; name a photo, or a folder of photos.")
        for name, path in sorted(files.items()):
            key = name.with_suffix("").as_posix()
            if is_video(path):
                check_video_reader(path)
                key += "_"
            other = found.setdefault(key, path)
            if other.resolve() != path.resolve():
                raise _one_name(other, path)
    for key, path in found.items():
        if is_video(path):
            frame = re.compile(re.escape(key) + _FRAME)
            if other := next((photo for name, photo in found.items() if frame.fullmatch(name)), None):
                raise _one_name(path, other)
    return found


def _one_name(first: Path, second: Path) -> InputError:
    return InputError(f"The results of {first} and {second} would have one name; name their folder, or rename one.")


def segment_files(
    segmenter: Segmenter, photos: dict[str, Path], out: str | Path, *, fps: float | None = None
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Write `<name>.png`, a palette mask, and `<name>_overlay.png` of each photo, and the table `predictions.csv`.

    The frames of a video are photos called `<video>_000123`, by their number in it, from 0. The table is of this call.
    It has a line for each class that a photo shows: its colour, its area, a share of the photo, and its confidence,
    the mean probability at its pixels. A photo that cannot be read is passed over, and so is the rest of a video.

    Args:
        segmenter: the network.
        photos: see `find_photos`.
        out: folder to write to; `check_segment_files` says whether it is free.
        fps: frames to take of each second of a video; None takes all.

    Returns:
        By name, the classes that each photo shows, and what is wrong with each that was passed over.
    """
    out, shown, broken = Path(out), {}, {}
    with atomic(out / _TABLE) as table, table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for key, path in track(photos.items(), "photos"):
            try:
                for name, picture in _pictures(key, path, fps):
                    found = segmenter.predict(picture)
                    _write_pictures(out / name, found)
                    regions = list(found.regions())
                    writer.writerows(
                        (str(path), f"{name}.png", label, colour, f"{area:.4f}", f"{confidence:.4f}")
                        for label, area, confidence, colour in regions
                    )
                    shown[name] = [label for label, *_ in regions if label != "background"]
            except InputError as error:
                broken[key] = str(error)
    note_output(out / _TABLE, command="predict")
    return shown, broken


def _pictures(key: str, path: Path, fps: float | None) -> Iterator[tuple[str, Path | np.ndarray]]:
    """A photo, or the frames of a video, each under its name."""
    if not is_video(path):
        yield key, path
        return
    for number, frame in track(read_frames(path, fps=fps), path.name, frame_count(path, fps=fps)):
        yield f"{key}{number:06}", frame


def _write_pictures(place: Path, found: Segmentation) -> None:
    mask, picture = (place.with_name(f"{place.name}{end}.png") for end in ("", "_overlay"))
    with atomic(mask) as temporary:
        temporary.write_bytes(encode_labels(found.labels))
    with atomic(picture) as temporary:
        Image.fromarray(found.overlay).save(temporary, "png")
    for written in (mask, picture):
        note_output(written, command="predict")


def check_segment_files(photos: dict[str, Path], out: str | Path, *, force: bool = False) -> None:
    """Check that `segment_files` would replace nothing but its own results.

    Raises:
        InputError: see `ssc.runtime.outputs.check_outputs`.
    """
    out, paths = Path(out), []
    for name, path in photos.items():
        if is_video(path):  # how many frames it has is known at its end
            frame, folder = re.compile(re.escape(Path(name).name) + _FRAME), (out / name).parent
            paths += [there for there in sorted(folder.glob("*.png")) if frame.fullmatch(there.stem)]
        else:
            paths += [out / f"{name}{end}.png" for end in ("", "_overlay")]
    check_outputs([*paths, out / _TABLE], command="predict", force=force, inputs=photos.values())
