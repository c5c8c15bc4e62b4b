"""Files that commands write into folders of the user's: what they have not written themselves is not replaced.

A command notes what it has written in the hidden file `.ssc-<command>.sha256` of the folder, of the form that
`sha256sum` knows. A file that is not noted, or has been changed since, is the user's.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ssc.runtime.errors import InputError
from ssc.runtime.files import file_digest


def check_outputs(
    paths: Iterable[str | Path], *, command: str, force: bool = False, inputs: Iterable[str | Path] = ()
) -> None:
    """Check, before anything is computed, that the outputs of a command replace no file but its own.

    Args:
        paths: files that the command is about to write.
        command: its name.
        force: files of others may be replaced, but for the inputs.
        inputs: files that the command reads.

    Raises:
        InputError: an output is an input; one exists and is not the command's own; two outputs are the same file; or a
            folder cannot be one.
    """
    read = {Path(path).resolve() for path in inputs}
    folders, seen = defaultdict(list), set()
    for path in map(Path, paths):
        if path.resolve() in read:
            raise InputError(
                f"{path} is read by this command and would be replaced by its result; name another output."
            )
        if path in seen:
            raise InputError(f"{path} would be written twice; rename one of the inputs.")
        seen.add(path)
        folders[path.parent].append(path)
    taken = []
    for folder, files in folders.items():
        blocking = next((parent for parent in (folder, *folder.parents) if parent.exists()), None)
        if blocking and not blocking.is_dir():
            raise InputError(
                f"{blocking} is a file, where a folder is needed for {files[0].name}; name another folder."
            )
        own = _noted(folder, command)
        taken += [path for path in files if os.path.lexists(path) and not _is_own(path, own)]
        if blocked := next((path for path in files if path.is_dir()), None):
            raise InputError(f"{blocked} is a folder, where a file is to be written; name another output.")
    if taken and not force:
        more = f", and {len(taken) - 1} more files" if len(taken) > 1 else ""
        raise InputError(
            f"{taken[0]} exists and is not what this command wrote{more}; name another output, or say --force."
        )


def is_others(path: str | Path, *, command: str) -> bool:
    """Whether a file is there that the command has not written, or that was changed since."""
    path = Path(path)
    return os.path.lexists(path) and not _is_own(path, _noted(path.parent, command))


def note_output(path: str | Path, *, command: str) -> None:
    """Note that the command has written a file, so that it may replace it another time."""
    path = Path(path)
    line = f"{file_digest(path)}  {path.name}"
    if line not in (lines := _lines(path.parent.absolute(), command)):
        lines.add(line)
        with _note(path.parent, command).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _note(folder: Path, command: str) -> Path:
    return folder / f".ssc-{command}.sha256"


@cache
def _lines(folder: Path, command: str) -> set[str]:
    """Lines of a note, read once: there may be ten thousand."""
    note = _note(folder, command)
    return {*note.read_text(encoding="utf-8").splitlines()} if note.is_file() else set()


def _noted(folder: Path, command: str) -> dict[str, set[str]]:
    """Digests by file name."""
    found = defaultdict(set)
    for line in _lines(folder.absolute(), command):
        digest, _, name = line.partition("  ")
        found[name].add(digest)
    return found


def _is_own(path: Path, noted: dict[str, set[str]]) -> bool:
    return path.name in noted and path.is_file() and not path.is_symlink() and file_digest(path) in noted[path.name]
