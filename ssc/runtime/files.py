"""Atomic writes, safe names, and the two text formats (JSON, TSV) that stages hand to each other."""

import codecs
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ssc.runtime.errors import InputError

if TYPE_CHECKING:
    import pandas


def locate(root: Path, path: str | Path) -> Path:
    """Where a file or folder lies that is named from `root`."""
    # By the names alone: a link, such as of results/ to another disk, has another folder above it.
    return Path(os.path.normpath(root / path))


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it is synced and renamed to `path`.

    A reader sees the old file or the whole new one. On an exception the temporary file is removed.

    Raises:
        OSError: no room or no permission; it names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with name_in_errors(path):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, which must be absent or empty; on success it is synced and renamed to `path`.

    On an exception it is removed with all that is in it; what a killed process has left is removed before.

    Raises:
        OSError: no room, no permission, or `path` is not empty.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.sync()  # one call, where a call per file would take minutes
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_temporaries(path: str | Path) -> None:
    """Remove what killed processes have left of their writing to `path`, and to `<path>.checkpoint`."""
    for name in (Path(path).name, f"{Path(path).name}.checkpoint"):
        for left in Path(path).parent.glob(f".{glob.escape(name)}.*.tmp"):
            left.unlink(missing_ok=True)


@contextmanager
def name_in_errors(path: str | Path) -> Iterator[None]:
    """Let errors of the operating system that name no file, as those of a write on a full disk, name `path`."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented JSON with a closing newline, atomically. NaN is refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_text(path: str | Path, *, what: str = "The file") -> str:
    """Read a text that people have written: UTF-8, or UTF-16 with its byte order mark; line ends become line feeds.

    Args:
        path: the file.
        what: what it is to the user, such as `The label table`.

    Raises:
        InputError: it is absent, cannot be read, or is in another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{what} {path} does not exist; make it or correct its path.") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read ({error.strerror}); correct its path.") from None
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")  # the byte order mark is a spreadsheet's
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{what} {path} is not UTF-8, as {content[error.start : error.end]!r} in line {line} shows; save it as "
            "'CSV UTF-8' or 'Unicode text'."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path) -> dict:
    """Read one JSON object.

    Raises:
        InputError: the file is absent or holds no JSON object.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); make it again or restore it.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object; make it again or restore it.")
    return found


def write_table(path: str | Path, frame: "pandas.DataFrame", *, decimals: int | None = None) -> None:
    """Write a table as tab-separated text with a header line, atomically; a missing value is an empty cell.

    Args:
        path: the file.
        frame: the table; its index is left out.
        decimals: of the floating-point numbers; None writes as many as they have.
    """
    with atomic(path) as temporary:
        float_format = None if decimals is None else f"%.{decimals}f"
        frame.to_csv(temporary, sep="\t", index=False, lineterminator="\n", float_format=float_format)


def read_table(path: str | Path) -> "pandas.DataFrame":
    """Read a tab-separated table with a header line. All cells are text, so that ids stay what they are, or missing.

    Raises:
        InputError: the file is absent or holds no such table.
    """
    import pandas  # takes half a second, which the reading of the workflow does not have

    try:
        frame = pandas.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=[""])
        if not isinstance(frame.index, pandas.RangeIndex):
            raise ValueError("its lines have more cells than its header")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except ValueError as error:
        raise InputError(f"{path} is no readable table ({error}); make it again or restore it.") from None
    return frame


def check_member_name(name: str) -> None:
    """Check that `name` is a relative POSIX path that stays inside the folder an archive is unpacked to.

    Raises:
        InputError: it is not, or it holds control characters.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or any(ord(c) < 32 for c in name):
        raise InputError(f"{name!r} is not a safe member name; image ids must be plain relative names.")
