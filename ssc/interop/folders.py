"""Maps of any code base by image: label pictures and CAM files in folders, or in shard archives."""

import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ssc.archive import Archive
from ssc.data.masks import read_mask
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json

Arrays = dict[str, np.ndarray]


def label_maps(*sources: str | Path) -> dict[str, Callable[[], np.ndarray]]:
    """By image id, what reads its label map (H, W): of folders of `<id>.png` and of shard archives of these.

    A folder may hold archives, as that of a stage does.

    Raises:
        InputError: a source is neither, or an archive is damaged.
    """
    return _found(sources, {".png": (read_mask, Archive.labels)})


def cam_files(*sources: str | Path) -> dict[str, Callable[[], Arrays]]:
    """By image id, what reads its arrays, see `ssc.cams.full_cams`: of folders of `<id>.npz`, or of another code base's
    `<id>.npy`, and of shard archives.

    Raises:
        InputError: see `label_maps`.
    """
    return _found(sources, {".npz": (_read_cams, Archive.arrays), ".npy": (_read_released, None)})


def stage_archives(run: str | Path, stage: str) -> list[Path]:
    """Shard archives of a stage's folder in a run, such as `predictions/val`; none where it has not made them.

    They are those that the run's manifest names, which may lie in the folder of an experiment with the same settings;
    those in its own folder where there is no manifest, or an older one.

    Raises:
        InputError: the manifest is no JSON.
    """
    run = Path(run).absolute()
    own, manifest = sorted((run / stage).glob("*-of-*.zip")), run / "manifest.json"
    if not manifest.is_file() or any(path.stat().st_mtime > manifest.stat().st_mtime for path in own):
        return own
    paths = [Path(path) for of_stage in read_json(manifest).get("files", {}).values() for path in of_stage]
    named = [path for path in paths if path.suffix == ".zip" and path.parent.as_posix().endswith(f"/{stage}")]
    return [run.parent / path for path in named] or own


def _found(sources: tuple, readers: dict) -> dict[str, Callable]:
    found = {}
    for source in map(Path, sources):
        if not source.exists():
            raise InputError(f"{source} is neither a folder nor an archive.")
        if source.is_dir():
            # Ids may hold slashes, so that there may be folders inside.
            for path in sorted(source.rglob("*")):
                if path.suffix in readers:
                    found[path.relative_to(source).with_suffix("").as_posix()] = partial(readers[path.suffix][0], path)
        archives = [source] if source.is_file() else sorted(source.glob("*.zip"))
        for path in archives:
            archive = Archive(path)
            for suffix, (_, read) in readers.items():
                if read:
                    found |= {name: partial(read, archive, name) for name in archive.ids(suffix)}
    return found


def _read_cams(path: Path) -> Arrays:
    return read_arrays(path, "classes", "cams")


def _read_released(path: Path) -> Arrays:
    from ssc.interop.released_cams import read_released_cams  # with torch, which label maps can spare

    return read_released_cams(path)


def read_arrays(path: str | Path, *needed: str) -> Arrays:
    """The arrays of an .npz file by name.

    Raises:
        InputError: it cannot be read, or lacks one that is needed.
    """
    try:
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            found = dict(arrays)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is no readable archive of arrays ({error}); make it again.") from None
    if absent := [name for name in needed if name not in found]:
        raise InputError(f"{path} lacks {absent[0]}; it needs {' and '.join(needed)}.")
    return found
