"""Tables as text: the cells as they are written, aligned columns for a terminal, and Markdown."""

from collections.abc import Mapping

import pandas as pd


def as_text(frame: pd.DataFrame, formats: Mapping[str, str]) -> pd.DataFrame:
    """All cells as text, empty where a value is missing.

    Args:
        frame: the table.
        formats: by column of numbers, the format specification of its values, such as ".2f".
    """
    written = {name: frame[name].map(f"{{:{form}}}".format, na_action="ignore") for name, form in formats.items()}
    frame = frame.assign(**written).astype(object)
    return frame.where(frame.notna(), "")


def aligned(frame: pd.DataFrame, *, words: int) -> str:
    """A table of text with aligned columns under a ruled heading; the first `words` columns to the left."""
    columns = [pd.Series([name, *frame[name]]) for name in frame]
    padded = [
        column.str.pad(column.str.len().max(), side="right" if number < words else "left")
        for number, column in enumerate(columns)
    ]
    heading, *lines = ["  ".join(cells) for cells in zip(*padded, strict=True)]
    return "\n".join([heading, "-" * len(heading), *lines]) + "\n"


def to_markdown(frame: pd.DataFrame, *, words: int) -> str:
    """A table of text in Markdown; the first `words` columns to the left, the others to the right."""
    rule = ["---"] * words + ["---:"] * (len(frame.columns) - words)
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(frame), rule, *frame.to_numpy().tolist()])
