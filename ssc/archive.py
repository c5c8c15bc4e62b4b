"""Shard archives: one zip of ordinary files per shard (`<image id>.png` label maps, `<image id>.npz` arrays).

Members carry no time stamps, so equal content gives equal bytes. Nothing is ever unpickled.
"""

import io
import os
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ssc.constants import voc_palette
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic, check_member_name

_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILES = 64  # open at a time, where a system may allow a process no more than a thousand


class ArchiveWriter:
    """Adds members to a zip that is being written; use it through `write`."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive

    def add_bytes(self, name: str, data: bytes, *, extra: bytes = b"") -> None:
        """Store `data` under `name`, a relative POSIX path, with an extra field of the zip format if there is one.

        Raises:
            InputError: the name is absolute or leaves the archive.
        """
        check_member_name(name)
        # Stored, not deflated: PNG and NPZ members are compressed already.
        member = zipfile.ZipInfo(name, _EPOCH)
        member.extra = extra
        self._archive.writestr(member, data)

    def add_labels(self, image_id: str, labels: np.ndarray) -> None:
        """Store an integer label map (H, W) in 0..255 as `<image id>.png` with the VOC palette, or a map with
        larger values in 0..65535 as a 16-bit greyscale PNG."""
        self.add_bytes(f"{image_id}.png", encode_labels(labels))

    def add_arrays(self, image_id: str, **arrays: np.ndarray) -> None:
        """Store named arrays as `<image id>.npz`, compressed.

        Raises:
            ValueError: an array holds Python objects, which would need pickles.
        """
        self.add_bytes(f"{image_id}.npz", encode_arrays(**arrays))


@contextmanager
def write(path: str | Path) -> Iterator[ArchiveWriter]:
    """Open an archive for writing; it appears under `path` only when the block ends without an exception."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        yield ArchiveWriter(archive)


class Archive:
    """Read access to one or several shard archives as a single collection of members.

    Args:
        paths: zip files, as written by `write`.

    Raises:
        InputError: a file is no zip archive, or a member name is absolute or leaves the archive.
    """

    def __init__(self, *paths: str | Path):
        self._paths = [Path(path) for path in paths]
        self._members: dict[str, Path] = {}
        # By process: forked data-loader workers inherit open files, and must not share their positions.
        self._open: OrderedDict[tuple[int, Path], zipfile.ZipFile] = OrderedDict()
        for path in self._paths:
            try:
                with zipfile.ZipFile(path) as archive:
                    names = archive.namelist()
            except FileNotFoundError:
                raise InputError(f"{path} does not exist.") from None
            except zipfile.BadZipFile:
                raise InputError(f"{path} is not a readable zip archive; delete it and run again.") from None
            for name in names:
                check_member_name(name)
                self._members[name] = path

    def __getstate__(self) -> dict:
        # Open files cannot be sent to other processes, which open the archives anew.
        return {**self.__dict__, "_open": OrderedDict()}

    def ids(self, suffix: str = "") -> list[str]:
        """Image ids (member names without their extension), sorted; of members with one extension, such as `.png`."""
        return sorted({str(PurePosixPath(name).with_suffix("")) for name in self._members if name.endswith(suffix)})

    def __contains__(self, image_id: str) -> bool:
        return f"{image_id}.png" in self._members or f"{image_id}.npz" in self._members

    def read_bytes(self, name: str) -> bytes:
        """Bytes of one member.

        Raises:
            InputError: no such member, or its checksum does not match.
        """
        if name not in self._members:
            where = ", ".join(map(str, self._paths))
            raise InputError(f"{name} is not in {where}; the archives belong to another index.")
        path = self._members[name]
        try:
            return self._file(path).read(name)
        except zipfile.BadZipFile:
            raise InputError(f"{name} in {path} is damaged; delete the archive and run again.") from None

    def _file(self, path: Path) -> zipfile.ZipFile:
        """One of the zip files, open; of the others those that were read last stay so."""
        key = os.getpid(), path
        # Each step is whole under the interpreter's lock: two threads may open a file twice, and no more.
        file = self._open.pop(key, None) or zipfile.ZipFile(path)
        self._open[key] = file
        if len(self._open) > _FILES:
            self._open.popitem(last=False)  # closed by its last reader, which may be another thread's
        return file

    def labels(self, image_id: str) -> np.ndarray:
        """Label map (H, W), int32, of `<image id>.png`."""
        with Image.open(io.BytesIO(self.read_bytes(f"{image_id}.png"))) as image:
            return np.asarray(image).astype(np.int32)

    def arrays(self, image_id: str) -> dict[str, np.ndarray]:
        """Arrays of `<image id>.npz` by name."""
        with np.load(io.BytesIO(self.read_bytes(f"{image_id}.npz")), allow_pickle=False) as arrays:
            return dict(arrays)

    def cams(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (K,) int64 and CAMs (K, h, w) float32, in 0..1 at stride 4, of `<image id>.npz`.

        The same file may hold maps at the photo's size, see `ssc.cams.full_cams`.
        """
        arrays = self.arrays(image_id)
        return arrays["classes"].astype(np.int64), arrays["cams"].astype(np.float32)


def encode_labels(labels: np.ndarray) -> bytes:
    """PNG bytes of a label map (H, W): 8-bit with the VOC palette, 16-bit greyscale above 255."""
    if labels.ndim != 2 or labels.min() < 0 or labels.max() > 65535:
        raise ValueError("labels must be (H, W) with values in 0..65535")
    if labels.max() <= 255:
        image = Image.fromarray(labels.astype(np.uint8), mode="P")
        image.putpalette(voc_palette())
    else:
        image = Image.fromarray(labels.astype(np.uint16))
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=6)
    return buffer.getvalue()


def encode_arrays(**arrays: np.ndarray) -> bytes:
    """NPZ bytes of named arrays, compressed.

    Raises:
        ValueError: an array holds Python objects, which would need pickles.
    """
    # NumPy before 2.1 takes `allow_pickle` for the name of one more array.
    if any(array.dtype.hasobject for array in arrays.values()):
        raise ValueError("arrays of objects cannot be stored")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
