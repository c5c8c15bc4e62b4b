"""Results kept by identity, so that a rerun with nothing changed takes them over instead of making them again.

Snakemake deletes a rule's outputs before it runs the rule. A hard link beside an output outlives that and takes no
room; on a file system without hard links nothing is kept.
"""

import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

from ssc.runtime.files import atomic
from ssc.workflow.provenance import file_digest


def keep(path: str | Path, identity: str) -> None:
    """Link a finished result as `.<name>.<identity>.<digest of the content>.kept`, in place of any earlier one."""
    path = Path(path)
    link = path.with_name(f".{path.name}.{identity}.{file_digest(path)[:16]}.kept")
    for earlier in hidden(path, "*.*.kept"):
        earlier.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        link.unlink(missing_ok=True)


def find(path: str | Path, identity: str) -> Path | None:
    """The kept result of that identity; its content is not checked."""
    return next(iter(hidden(path, f"{identity}.*.kept")), None)


def intact(path: str | Path, identity: str) -> bool:
    """Whether there is a kept result of that identity whose content is what it was."""
    link = find(path, identity)
    return link is not None and file_digest(link).startswith(link.name.split(".")[-2])


def restore(path: str | Path, identity: str) -> None:
    """Put the kept result of that identity under its name."""
    link = find(path, identity)
    with atomic(path) as temporary:
        try:
            os.link(link, temporary)
            os.utime(temporary)  # else it would look older than the files it comes from
        except OSError:  # another user's file, in a folder of a group
            temporary.unlink(missing_ok=True)
            shutil.copyfile(link, temporary)


def hidden(path: str | Path, pattern: str) -> list[Path]:
    """Hidden files `.<name>.<pattern>` beside `path`, in the order of their names; a star stands for one part."""
    start = f".{Path(path).name}."

    def fits(name: str) -> bool:
        end = name.removeprefix(start)
        return end != name and end.count(".") == pattern.count(".") and fnmatchcase(end, pattern)

    return sorted(file for file in Path(path).parent.glob(".*") if fits(file.name))
