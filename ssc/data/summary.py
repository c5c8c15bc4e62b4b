"""What a data set holds, in a few lines for the terminal: told before anything is trained."""

import re
from collections import Counter, defaultdict
from pathlib import PurePosixPath

from ssc.constants import FEW_PHOTOS
from ssc.data.index import SPLITS, Index

_TOLD = 40  # classes that are listed one by one

# What programs and people add to the name of a copy.
_COPY = re.compile(r"[\s_-]*(\(\d+\)|copy( \d+)?|kopie|copie|copia)$")


def summary(index: Index) -> str:
    """Photos by split, training photos by class, and names that look like copies."""
    lines = ["Photos:"]
    for split in SPLITS:
        rows = index.split(split)
        if rows:
            with_labels, with_masks = sum(bool(row.labels) for row in rows), sum(bool(row.mask) for row in rows)
            lines.append(f"  {split:<5} {len(rows):>7}, {with_labels} with labels, {with_masks} with masks")
    counts = Counter(label for row in index.split("train") for label in row.labels)
    by_class = [(name, counts[label]) for label, name in enumerate(index.classes, start=1)]
    width = max(len(name) for name in index.classes)
    lines.append(f"Training photos of {index.num_classes} classes:")
    shown = by_class if len(by_class) <= _TOLD else [(name, count) for name, count in by_class if count < FEW_PHOTOS]
    lines += [f"  {name:<{width}} {count:>7}{'  few' if count < FEW_PHOTOS else ''}" for name, count in shown]
    if len(shown) < len(by_class):
        least = min(count for _, count in by_class if count >= FEW_PHOTOS)
        lines.append(f"  {len(by_class) - len(shown)} more, of {least} and more")
    if copies := _copies(index):
        lines.append(f"Names that look like copies: {len(copies)}, such as {' and '.join(copies[0][:2])}")
    return "\n".join(lines)


def _copies(index: Index) -> list[list[str]]:
    """Ids, of one folder, of which one is another's name with what is added to that of a copy."""
    alike, plain = defaultdict(list), set()
    for row in index.rows:
        path = PurePosixPath(row.id)
        key = path.parent, _COPY.sub("", path.name.casefold())
        alike[key].append(row.id)
        if key[1] == path.name.casefold():
            plain.add(key)
    return [ids for key, ids in alike.items() if len(ids) > 1 and key in plain]  # not the numbers of a series
