"""Unpacking of downloaded archives: whole or not at all, and never outside of the folder."""

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from ssc.runtime.errors import InputError
from ssc.runtime.files import check_member_name
from ssc.runtime.progress import log, track

# Of an archive as a whole: COCO has 82,783 training photos, which hardly shrink; zeros shrink to a thousandth.
_MEMBERS = 2_000_000
_GROWTH = 100
_SMALL = 2**20  # bytes that the smallest archive may unpack to

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


def unpack(archive: str | Path, folder: str | Path) -> None:
    """Unpack a zip or tar file (plain or gzip) into a new folder, which appears when all is there.

    Args:
        archive: the file; its content says what it is.
        folder: folder to make; members keep their paths below it.

    Raises:
        InputError: the folder exists, the archive is absent, damaged or cut off, a member is absolute, leaves the
            folder, links out of it, or is a device, or there are absurdly many members or bytes in them.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"The folder {folder} exists already; delete it to unpack {archive} anew.")
    log.info("unpacking %s to %s", archive, folder)
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed job
    partial.mkdir(parents=True)
    try:
        with Path(archive).open("rb") as handle:
            kind = handle.read(2)
        (_unpack_zip if kind == b"PK" else _unpack_tar)(archive, partial)
        os.sync()  # one call, where a call per file would take minutes
        partial.replace(folder)
    except FileNotFoundError:
        raise InputError(f"The archive {archive} does not exist.") from None
    except _DAMAGED:
        raise InputError(f"The archive {archive} is damaged or cut off; fetch it again.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack_zip(path: str | Path, folder: Path) -> None:
    check = _limits(path)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            check(member.filename, member.file_size)
        for member in track(archive.infolist(), "files"):
            archive.extract(member, folder)  # a link becomes a file that holds its target


def _unpack_tar(path: str | Path, folder: Path) -> None:
    check = _limits(path)
    with tarfile.open(path) as archive:
        for member in archive:
            check(member.name, member.size)
            try:
                archive.extract(member, folder, filter="data")
            except tarfile.FilterError as error:
                raise InputError(f"The archive {path} is refused: {error}; do not use it.") from None
        # A tar file that was cut between two members reads as a shorter one, but for the empty block at its end; and
        # gzip compares its checksum when all is read.
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("unexpected end of data")
        while archive.fileobj.read(1 << 20):
            pass


def _limits(path: str | Path) -> Callable[[str, int], None]:
    """Check of each member's name and size in turn, and of their number and sum up to then."""
    most = max(_SMALL, _GROWTH * Path(path).stat().st_size)
    count = total = 0

    def check(name: str, size: int) -> None:
        nonlocal count, total
        count, total = count + 1, total + size
        try:
            check_member_name(name)
        except InputError:
            raise InputError(
                f"The archive {path} is refused: {name!r} would leave its folder; do not use it."
            ) from None
        if count > _MEMBERS or total > most:
            what = f"more than {_MEMBERS:,} files" if count > _MEMBERS else f"more than {_GROWTH} times its own size"
            raise InputError(f"The archive {path} is refused: it unpacks to {what}; do not use it.")

    return check
