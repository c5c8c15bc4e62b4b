"""Whether masks mean what they are taken for: their values against the labels of their photos and their own colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ssc.constants import IGNORE
from ssc.data.index import Index, Row
from ssc.data.masks import palette_labels, read_mask
from ssc.runtime.errors import InputError
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import tell


@dataclass(frozen=True, slots=True)
class _Seen:
    row: Row
    values: tuple[int, ...]
    shown: Mapping[int, int]  # class id by value, by VOC's colours, where the palette holds nothing else

    @property
    def classes(self) -> set[int]:
        return {*self.values} - {0, IGNORE}

    def contradicts(self) -> bool:
        """Whether it shows what the photo's labels lack, or nothing of them."""
        labels = {*self.row.labels}
        return not self.classes or not self.classes <= labels if labels else self.resorted()

    def belongs_elsewhere(self) -> bool:
        """Whether it shows something else than the labels, not more: incomplete labels are no wrong masks."""
        return self.contradicts() and not ({*self.row.labels} and {*self.row.labels} <= self.classes)

    def resorted(self) -> bool:
        return any(value != label for value, label in self.shown.items())


def check_masks(index: Index, *, threads: int = 8) -> None:
    """Check the values of all masks that are pictures; a mask that contradicts its photo's labels is told.

    Args:
        index: all images.
        threads: files read at the same time.

    Raises:
        InputError: a mask holds a value that is no class, no mask shows a class, or more than half of the masks show
            something else than the labels of their photos, or, where there are none, than their own colours.
    """
    rows = [row for row in index.rows if row.mask and not row.mask.endswith(".json")]
    seen = list(parallel_map(_look, rows, threads))
    for mask in seen:
        if wrong := [value for value in mask.values if index.num_classes < value < IGNORE]:
            raise InputError(
                f"The mask {mask.row.mask} of {mask.row.id} holds {wrong[0]}, which is no class. "
                f"{_mend(mask, index.classes)}"
            )
    if seen and not any(mask.classes for mask in seen):
        first = seen[0]
        told = f"{first.row.mask} holds {_values(first.values)} alone"
        raise InputError(f"No mask shows a class: {told}. {_mend(first, index.classes)}")
    wrong = [mask for mask in seen if mask.contradicts()]
    if not wrong:
        return
    elsewhere = [mask for mask in wrong if mask.belongs_elsewhere()]
    example = max(elsewhere or wrong, key=lambda mask: bool(mask.classes))
    labels = ", ".join(f"{index.classes[label - 1]} ({label})" for label in example.row.labels) or "not given"
    told = (
        f"{len(wrong)} of {len(seen)} masks contradict their photos' labels: {example.row.mask} holds "
        f"{_values(example.values, index.classes)}, the labels of {example.row.id} are {labels}."
    )
    if 2 * len(elsewhere) > len(seen):
        raise InputError(f"{told} {_mend(example, index.classes)}")
    tell(f"Warning: {told}")


def _look(row: Row) -> _Seen:
    return _Seen(row, tuple(np.unique(read_mask(row.mask)).tolist()), palette_labels(row.mask))


def _ids(classes: Sequence[str]) -> str:
    told = ", ".join(f"{label} is {name}" for label, name in enumerate(classes[:3], start=1))
    return told + (f", ... {len(classes)} is {classes[-1]}" if len(classes) > 3 else "")


def _values(values: Sequence[int], classes: Sequence[str] = ()) -> str:
    names = {0: "background", IGNORE: "ignored", **dict(enumerate(classes, start=1))}
    return " and ".join(f"{value} ({names[value]})" if value in names else str(value) for value in values)


def _mend(mask: _Seen, classes: Sequence[str]) -> str:
    """What the values seem to be, and what to do."""
    if mask.resorted() and max(mask.shown.values()) in (*range(len(classes) + 1), IGNORE):
        return (
            f"By the colours of its palette it shows {_values(sorted({*mask.shown.values()}), classes)}: a program has "
            "sorted the palette anew; save the masks with VOC's palette as it is."
        )
    if {*mask.values} <= {0, 254, IGNORE}:
        return f"These are black and white; write the ids of the classes in place of white: {_ids(classes)}."
    return (
        f"Here {_ids(classes)}; if the masks count otherwise, list the classes in their order in classes.txt (key "
        "dataset.classes), else mend masks or labels."
    )
