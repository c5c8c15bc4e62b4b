"""Outputs that need not be made again, whole or member by member: hidden files beside them, see docs/cache.md.

A finished output is hard-linked as `.<name>.<fingerprint>.<digest of its content>.cache`; an archive in progress grows
in `.<name>.<fingerprint>.cache`. Fingerprints and digests have 16 hexadecimal digits.
"""

import fcntl
import glob
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ssc import archive
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic, file_digest, name_in_errors
from ssc.runtime.progress import log

_DIGITS = "[0-9a-f]" * 16
_HEADER = struct.Struct("<4s5H3I2H")  # what stands before each member of a zip


def keep(path: str | Path, fingerprint: str) -> None:
    """Link a finished output into the cache, in place of all else it holds for it; without hard links, nothing."""
    path = Path(path)
    link = path.with_name(f".{path.name}.{fingerprint}.{file_digest(path)[:16]}.cache")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        os.link(path, temporary)
        temporary.replace(link)
    temporary.unlink(missing_ok=True)  # it stays where the link was one to the same file
    # Only now: until here these held what the output is made of.
    for other in [*_cached(path, _DIGITS), *_cached(path, _DIGITS, _DIGITS)]:
        if other != link:
            other.unlink(missing_ok=True)


def intact(path: str | Path, fingerprint: str) -> bool:
    """Whether the cache holds a finished output of that fingerprint whose content is what it was."""
    return _whole(path, fingerprint) is not None


def restore(path: str | Path, fingerprint: str) -> None:
    """Put a finished output for which `intact` is true under its name, as young as if it had been made anew."""
    cached = _whole(path, fingerprint)
    with atomic(path) as temporary:
        try:
            os.link(cached, temporary)
            os.utime(temporary)  # else Snakemake would find it older than the files it comes from
        except OSError:  # another user's file, in a folder of a group
            temporary.unlink(missing_ok=True)
            shutil.copyfile(cached, temporary)


class _Member(NamedTuple):
    path: Path
    start: int
    size: int
    checksum: int


class ResumedWriter(archive.ArchiveWriter):
    """Adds the members that are not in the cache; use it through `resume`."""

    def __init__(self, file: zipfile.ZipFile, handle: BinaryIO, keys: Mapping[str, str], found: dict[str, _Member]):
        super().__init__(file)
        self._handle, self._keys, self._found = handle, keys, found

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def add_bytes(self, name: str, data: bytes) -> None:
        """Store `data` under `name`, one of the announced members; from now on it outlives this process."""
        super().add_bytes(name, data, extra=_field(self._keys[name]))
        self._handle.flush()
        start = self._handle.tell() - len(data)
        self._found[name] = _Member(Path(self._handle.name), start, len(data), zlib.crc32(data))


@contextmanager
def resume(path: str | Path, *, fingerprint: str, keys: Mapping[str, str]) -> Iterator[ResumedWriter]:
    """Open an archive for writing of which the cache may hold some members already.

    Those whose key is the same are in the writer from the start and need not be added. The archive appears when the
    block ends without an exception; its bytes depend neither on what came from the cache nor on the order of adding.

    Args:
        path: the archive.
        fingerprint: of the code, settings and files behind all members, see `ssc.workflow.provenance.fingerprint`.
        keys: all members of the archive, in its order, each with 16 hexadecimal digits that stand for what it alone is
            made from, see `ssc.data.index.Row.key`.

    Raises:
        InputError: another job is writing the archive, or has just ended.
        KeyError: a member was added that is not in `keys`, or one was not added.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    own, found, end = path.with_name(f".{path.name}.{fingerprint}.cache"), {}, 0
    own.touch()
    with name_in_errors(path), own.open("r+b") as handle:
        _lock(handle, path)
        for stale in set(_cached(path, _DIGITS)) - {own}:
            with stale.open("rb") as other:
                _lock(other, path)
            stale.unlink()
        for finished in _cached(path, fingerprint, _DIGITS):
            with finished.open("rb") as cached:
                found.update(_members(cached, keys))
        for name, member in _members(handle, keys):
            found[name], end = member, member.start + member.size
        handle.truncate(end)
        handle.seek(end)
        if found:
            log.info("%s: %d of %d members are there already.", path.name, len(found), len(keys))
        with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as file:
            yield ResumedWriter(file, handle, keys, found)
        with archive.write(path) as whole:
            for name, key in keys.items():
                whole.add_bytes(name, _read(found[name]), extra=_field(key))
        keep(path, fingerprint)


def _cached(path: str | Path, *digits: str) -> list[Path]:
    """Hidden files of an output: with the fingerprint alone in progress, with fingerprint and digest finished."""
    pattern = ".".join((glob.escape(Path(path).name), *digits))
    return sorted(Path(path).parent.glob(f".{pattern}.cache"))


def _whole(path: str | Path, fingerprint: str) -> Path | None:
    files = _cached(path, fingerprint, _DIGITS)
    return next((file for file in files if file_digest(file).startswith(file.name.split(".")[-2])), None)


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


def _field(key: str) -> bytes:
    """The extra field of a member, with an id of our choice, that holds its key."""
    return struct.pack("<2H8s", 0x5353, 8, bytes.fromhex(key))


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
    while len(head := handle.read(_HEADER.size)) == _HEADER.size:
        signature, *_, checksum, stored, size, name_length, extra_length = _HEADER.unpack(head)
        name, extra, data = names.get(handle.read(name_length)), handle.read(extra_length), handle.read(stored)
        # Until its data is written, zipfile has a member stored in 0 bytes with their checksum.
        if signature != zipfile.stringFileHeader or stored != size or zlib.crc32(data) != checksum:
            return
        if name and extra == _field(keys[name]):
            yield name, _Member(path, handle.tell() - size, size, checksum)
