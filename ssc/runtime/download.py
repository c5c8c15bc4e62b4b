"""Download of one file: resumed where it broke off, checked, and under its name only when it is whole."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from ssc.runtime.errors import InputError, is_of_storage
from ssc.runtime.progress import log, track

AGENT = {"User-Agent": "ssc"}
"""What a request says of itself: some servers turn away the name that urllib gives itself."""

_CHUNK = 1 << 20  # bytes; progress is told in MiB
_TRIES = 4  # tries in a row that bring nothing new
_PAUSE = 2.0  # seconds before the first of them, doubled each time


def download(url: str, output: str | Path, *, checksum: str, hint: str) -> None:
    """Fetch a file.

    What has come lies in `<output>.part`. A broken connection is taken up again from there, at once and in a later
    call (HTTP range request; a server that knows none sends the file from its start). A part that is whole is not
    fetched again.

    Args:
        url: http, https or file address.
        output: file to write.
        checksum: `md5:<digits>` or `sha256:<digits>`, hexadecimal; fewer digits are the start of the checksum.
        hint: what to do where the address does not answer, the end of a sentence.

    Raises:
        InputError: the file could not be fetched; what has come stays for the next call. Or its checksum is wrong;
            the part is removed. Nothing is written under `output` in either case.
        OSError: no room or no permission; it names the part.
    """
    part = Path(f"{output}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if not (part.exists() and _digest(part, checksum) == checksum):
        _receive(url, part, hint)
        found = _digest(part, checksum)
        if found != checksum:
            part.unlink()
            name = {"md5": "MD5", "sha256": "SHA-256"}[checksum.split(":")[0]]
            raise InputError(
                f"{url}: {name} starts with {found.split(':')[1]}, not {checksum.split(':')[1]}; the download is "
                "damaged or was tampered with, try again."
            )
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(output)


def _digest(path: Path, like: str) -> str:
    """Checksum of a file in the form of `like`, and as long."""
    algorithm = like.split(":")[0]
    with path.open("rb") as handle:
        return f"{algorithm}:{hashlib.file_digest(handle, algorithm).hexdigest()}"[: len(like)]


def _receive(url: str, part: Path, hint: str) -> None:
    """Fetch into `part`, going on from what it holds."""
    largest, idle = _size(part), _TRIES  # an address that never answers is told at once
    while True:
        try:
            _receive_once(url, part)
            return
        except (OSError, HTTPException) as error:
            if is_of_storage(error):
                error.filename = error.filename or str(part)
                raise
            size = _size(part)
            largest, idle = max(largest, size), 0 if size > largest else idle + 1
            if idle > _TRIES:
                raise InputError(f"Could not fetch {url} ({error}); {hint}.") from None
            log.info("connection lost after %d bytes (%s); trying again", size, error)
            time.sleep(_PAUSE * 2**idle)


def _receive_once(url: str, part: Path) -> None:
    have = _size(part)
    headers = AGENT | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        part.unlink()  # It is as long as the file, or longer, and its checksum is wrong.
        _receive_once(url, part)
        return
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers["Content-Length"]
        chunks = iter(lambda: response.read(_CHUNK), b"")
        if length is not None:
            chunks = track(chunks, f"MiB of {url}", total=-(-int(length) // _CHUNK))
        with part.open("ab" if resumed else "wb") as handle:
            for chunk in chunks:
                handle.write(chunk)
    if length is not None and _size(part) < have + int(length):
        raise ConnectionError(f"{have + int(length) - _size(part)} bytes are missing")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
