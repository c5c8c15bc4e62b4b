"""Unpacking of downloaded archives: whole or not at all, and never outside of the folder."""

import gzip
import tarfile
import zipfile
import zlib
from pathlib import Path

from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic_folder
from ssc.runtime.progress import log, track


def unpack(archive: str | Path, folder: str | Path) -> None:
    """Unpack a zip or tar file (plain or gzip), whose checksum was compared, into a new folder.

    The folder appears when all is there. The standard library's filters refuse a member that would leave it, a device
    and a link out of it.

    Args:
        archive: the file; its content says what it is.
        folder: folder to make; members keep their paths below it.

    Raises:
        InputError: the folder exists, or the archive is absent, damaged or refused.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise InputError(f"The folder {folder} exists already; delete it to unpack {archive} anew.")
    if not archive.exists():
        raise InputError(f"The archive {archive} does not exist.")
    log.info("unpacking %s to %s", archive, folder)
    try:
        with atomic_folder(folder) as partial:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as content:
                    for member in track(content.infolist(), "files"):
                        content.extract(member, partial)
            else:
                with tarfile.open(archive) as content:
                    content.extractall(partial, filter="data")
    except tarfile.FilterError as error:
        raise InputError(f"The archive {archive} is refused: {error}; do not use it.") from None
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError):
        raise InputError(f"The archive {archive} is damaged or cut off; fetch it again.") from None
