"""Shard archives: one zip of ordinary files per shard (`<image id>.png` label maps, `<image id>.npz` arrays).

Members carry no time stamps, so equal content gives equal bytes. Nothing is ever unpickled.
"""

import fcntl
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from ssc.workflow import kept
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic, check_member_name, name_in_errors
from ssc.constants import voc_palette
from ssc.runtime.progress import log

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MEMBER = struct.Struct("<4s5H3I2H")  # what stands before each member of a zip
_FIELD = struct.Struct("<2H8s")  # the extra field, its id of our choice, that holds a member's key
_FIELD_ID = 0x5353


class ArchiveWriter:
    """Adds members to a zip that is being written; use it through `write` or `resume`."""

    def __init__(self, archive: zipfile.ZipFile, keys: Mapping[str, str] | None = None):
        self._archive, self._keys = archive, keys or {}

    def add_bytes(self, name: str, data: bytes) -> None:
        """Store `data` under `name`, a relative POSIX path.

        Raises:
            InputError: the name is absolute or leaves the archive.
        """
        check_member_name(name)
        # Stored, not deflated: PNG and NPZ members are compressed already.
        member = zipfile.ZipInfo(name, _EPOCH)
        if name in self._keys:
            member.extra = _FIELD.pack(_FIELD_ID, 8, bytes.fromhex(self._keys[name]))
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


class _Member(NamedTuple):
    path: Path
    start: int
    size: int
    checksum: int


class ResumedWriter(ArchiveWriter):
    """Adds the members that a killed job or an earlier run has not left; use it through `resume`."""

    def __init__(self, archive: zipfile.ZipFile, handle: BinaryIO, keys: Mapping[str, str], found: dict[str, _Member]):
        super().__init__(archive, keys)
        self._handle, self._found = handle, found

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def add_bytes(self, name: str, data: bytes) -> None:
        """Store `data` under `name`, one of the announced members; from now on it outlives this process."""
        super().add_bytes(name, data)
        self._handle.flush()
        start = self._handle.tell() - len(data)
        self._found[name] = _Member(Path(self._handle.name), start, len(data), zlib.crc32(data))


@contextmanager
def resume(path: str | Path, *, identity: str, keys: Mapping[str, str]) -> Iterator[ResumedWriter]:
    """Open an archive for writing of which a killed job or an earlier run may have left some members.

    They are taken over where their key is the same: members in the writer need not be added again. The archive appears
    under `path` when the block ends without an exception; its bytes do not depend on what was taken over, nor on the
    order in which members are added.

    Until then members lie in `.<name>.<identity>.partial`, afterwards in a hard link (see `ssc.workflow.cache`).

    Args:
        path: the archive.
        identity: of the code, settings and files behind all members, see `ssc.workflow.provenance.result_identity`.
        keys: all members that the archive will have, in its order, each with 16 hexadecimal digits that stand for what
            it alone is made from (see `Row.key`).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, link = path.with_name(f".{path.name}.{identity}.partial"), kept.find(path, identity)
    for stale in kept.hidden(path, "*.partial"):
        if stale != partial:
            stale.unlink()
    found = {}
    if link:
        with link.open("rb") as handle:
            found |= dict(_members(handle, keys))
    with name_in_errors(path), partial.open("r+b" if partial.exists() else "w+b") as handle:
        _lock(handle, path)
        end = 0
        for name, member in _members(handle, keys):
            found[name] = member
            end = member.start + member.size
        handle.truncate(end)
        handle.seek(end)
        if found:
            log.info("%s: %d of %d members are there already.", path.name, len(found), len(keys))
        with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
            yield ResumedWriter(archive, handle, keys, found)
        with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            whole = ArchiveWriter(archive, keys)
            for name in keys:
                whole.add_bytes(name, _read(found[name]))
        kept.keep(path, identity)
        partial.unlink()


def _lock(handle: BinaryIO, path: Path) -> None:
    """Refuse to write beside another job, which may have outlived its Snakemake."""
    told = f"Another job is still writing {path}; wait for its end, or end it, and run again."
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(told) from None
    except OSError:
        log.info("The file system of %s knows no locks.", path)
    if not Path(handle.name).exists():  # it has ended since the file was opened
        raise InputError(told)


def _read(member: _Member) -> bytes:
    with member.path.open("rb") as source:
        source.seek(member.start)
        data = source.read(member.size)
    if zlib.crc32(data) != member.checksum:
        raise InputError(f"{member.path} was changed while it was read; run again.")
    return data


def _members(handle: BinaryIO, keys: Mapping[str, str]) -> Iterator[tuple[str, _Member]]:
    """Members of a zip, whole or broken off, up to the first damaged one; those alone whose key is the wanted one."""
    path, names = Path(handle.name), {name.encode(): name for name in keys}
    while len(head := handle.read(_MEMBER.size)) == _MEMBER.size:
        signature, *_, checksum, size, _, name_length, extra_length = _MEMBER.unpack(head)
        name, extra, data = names.get(handle.read(name_length)), handle.read(extra_length), handle.read(size)
        if signature != zipfile.stringFileHeader or zlib.crc32(data) != checksum or len(data) != size:
            return
        if name and extra == _FIELD.pack(_FIELD_ID, 8, bytes.fromhex(keys[name])):
            yield name, _Member(path, handle.tell() - size, size, checksum)


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
        self._open: dict[tuple[int, Path], zipfile.ZipFile] = {}
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
        return {**self.__dict__, "_open": {}}

    def ids(self) -> list[str]:
        """Image ids (member names without their extension), sorted."""
        return sorted({str(PurePosixPath(name).with_suffix("")) for name in self._members})

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
        key = os.getpid(), path
        if key not in self._open:
            self._open[key] = zipfile.ZipFile(path)
        try:
            return self._open[key].read(name)
        except zipfile.BadZipFile:
            raise InputError(f"{name} in {path} is damaged; delete the archive and run again.") from None

    def labels(self, image_id: str) -> np.ndarray:
        """Label map (H, W), int32, of `<image id>.png`."""
        with Image.open(io.BytesIO(self.read_bytes(f"{image_id}.png"))) as image:
            return np.asarray(image).astype(np.int32)

    def arrays(self, image_id: str) -> dict[str, np.ndarray]:
        """Arrays of `<image id>.npz` by name."""
        with np.load(io.BytesIO(self.read_bytes(f"{image_id}.npz")), allow_pickle=False) as arrays:
            return dict(arrays)

    def cams(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (K,) int64 and CAMs (K, h, w) float32, in 0..1 at stride 4, of `<image id>.npz`."""
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
