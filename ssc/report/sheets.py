"""Sheets of pictures: one photo per row, one kind of picture per column. Written as PNG, atomically."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
from PIL import Image, ImageDraw

from ssc.archive import Archive
from ssc.cams import full_cams
from ssc.data.index import Row, read_index
from ssc.data.photos import read_image
from ssc.data.transforms import resize_image, resize_labels
from ssc.report.fonts import font_for
from ssc.report.pictures import PALETTE, colourise, heat, outlines, overlay
from ssc.runtime.files import atomic, read_table

# A column: row of the index, its photo (H, W, 3) and a tile size (h, w) to a picture uint8 (h, w, 3).
Column = Callable[[Row, np.ndarray, tuple[int, int]], np.ndarray]
# The photos of a sheet, each with a note for its caption.
Sample = Sequence[tuple[Row, str]]


class Sheet(TypedDict):
    """What all sheets take: the photos, and where the picture goes. The keyword arguments of `write_sheet`.

    Attributes:
        index, split: the images; `train` unless told otherwise.
        masks: shard archives of ground truth.
        scores: table of the images' mIoU (see `ssc.stages.evaluate.write_image_miou`), or None.
        panels: how many images are chosen, see `choose`.
        output: PNG file.
    """

    index: str | Path
    split: NotRequired[str]
    masks: Sequence[str | Path]
    scores: str | Path | None
    panels: int
    output: str | Path


_TILE = (144, 216)  # height and width, in pixels, that a photo is fitted into
_GAP, _MARGIN = 6, 14  # pixels
_HEADING, _CAPTION = 16, 13  # font sizes
_TEXT_COLOUR = (34, 34, 34)


def choose(rows: Sequence[Row], masks: Archive, scores: str | Path | None, count: int) -> Sample:
    """At most `count` rows: by the images' mIoU the best, those around the median, and the worst, in this order.

    Only rows with a mask are chosen from where there are any, likewise those with labels. Without scores the sample is
    spread evenly.

    Args:
        rows: of one split.
        masks: the split's ground truth.
        scores: table of the images' mIoU (see `ssc.stages.evaluate.write_image_miou`), or None.
        count: number of rows.

    Returns:
        Rows with a note: mIoU and rank.

    Raises:
        InputError: the table of scores is absent.
    """
    rows = [row for row in rows if row.id in masks] or rows
    rows = [row for row in rows if row.labels] or rows
    known = read_scores(scores) if scores else {}
    ranking = sorted((row for row in rows if row.id in known), key=lambda row: (-known[row.id], row.id))
    if ranking:
        places = extremes(list(enumerate(ranking, start=1)), count)
        return [(row, f"mIoU {known[row.id]:.1f} % ({place} of {len(ranking)})") for place, row in places]
    count = min(count, len(rows))
    return [(rows[(2 * k + 1) * len(rows) // (2 * count)], "") for k in range(count)]


def read_scores(path: str | Path) -> dict[str, float]:
    """mIoU in percent by image id, of the images that have one, from a table of `ssc.stages.evaluate.write_image_miou`.

    Raises:
        InputError: the file is absent.
    """
    table = read_table(path).dropna(subset="miou")
    return dict(zip(table["id"], table["miou"].astype(float), strict=True))


def extremes(ranking: Sequence, count: int) -> list:
    """A third each of the first, of the middle and of the last items, in their order; all if there are no more.

    What does not divide by three goes to the middle first, then to both ends.
    """
    if len(ranking) <= count:
        return list(ranking)
    ends = (count + 1) // 3
    middle = count - 2 * ends
    start = (len(ranking) - middle) // 2
    return [*ranking[:ends], *ranking[start : start + middle], *ranking[len(ranking) - ends :]]


def labels_column(archive: Archive) -> Column:
    """Label maps of an archive in the VOC palette."""
    return lambda row, image, size: colourise(resize_labels(archive.labels(row.id), size))


def superpixels_column(archive: Archive) -> Column:
    """Lines between the superpixels of an archive, over the photo."""
    return lambda row, image, size: outlines(resize_image(image, size), resize_labels(archive.labels(row.id), size))


def cams_column(archive: Archive) -> Column:
    """The strongest CAM of an archive at each pixel, over the photo."""
    return lambda row, image, size: resize_image(heat(image, full_cams(archive.arrays(row.id), image.shape[:2])), size)


def overlay_column(archive: Archive) -> Column:
    """Label maps of an archive over the photo."""
    return lambda row, image, size: overlay(resize_image(image, size), resize_labels(archive.labels(row.id), size))


def write_sheet(
    columns: Mapping[str, Column],
    *,
    index: str | Path,
    split: str = "train",
    masks: Sequence[str | Path],
    scores: str | Path | None,
    panels: int,
    output: str | Path,
    show_masks: bool = True,
) -> None:
    """Draw a sheet of some photos: the photo, its ground truth where the sample has any, and the columns given.

    A split without images gives the headings alone.

    Args:
        columns: by heading.
        index, split, masks, scores, panels, output: see `Sheet`.
        show_masks: whether ground truth has a column.

    Raises:
        InputError: a file is absent or belongs to another index, or a photo cannot be read.
    """
    table, truth = read_index(index), Archive(*masks)
    sample = choose(table.split(split), truth, scores, panels)
    first: dict[str, Column] = {"image": lambda row, image, size: resize_image(image, size)}
    if show_masks and any(row.id in truth for row, _ in sample):
        first["ground truth"] = labels_column(truth)
    columns = {**first, **columns}
    tiles = []
    for row, _ in sample:
        image = read_image(row.image)
        tiles.append([draw(row, image, _fit(image.shape[:2])) for draw in columns.values()])
    with atomic(output) as temporary:
        _compose(sample, list(columns), tiles, table.classes).save(temporary, "png")


def _fit(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a photo, scaled to just fit into a tile."""
    scale = min(_TILE[0] / size[0], _TILE[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _compose(
    sample: Sample, headings: Sequence[str], tiles: Sequence[Sequence[np.ndarray]], classes: Sequence[str]
) -> Image.Image:
    """A line of headings and, per photo, a caption (id, classes with their colours, note) above its tiles."""
    widths = [tile.shape[1] for line in tiles for tile in line]
    step = max([*widths, *(int(font_for(text, _HEADING).getlength(text)) for text in headings)]) + _GAP
    line_height = _CAPTION + _TILE[0] + 3 * _GAP
    top = _MARGIN + _HEADING + 2 * _GAP
    size = (2 * _MARGIN + step * len(headings) - _GAP, top + line_height * len(sample) - _GAP + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)

    def write(x: int, y: int, text: str) -> int:
        """Write a part of a caption; where the next begins."""
        font = font_for(text, _CAPTION)
        draw.text((x, y), text, _TEXT_COLOUR, font)
        return x + int(font.getlength(text)) + 2 * _GAP

    centres = [_MARGIN + step * column + (step - _GAP) // 2 for column in range(len(headings))]
    for centre, text in zip(centres, headings, strict=True):
        draw.text((centre, _MARGIN), text, _TEXT_COLOUR, font_for(text, _HEADING), anchor="ma")
    for number, ((row, note), line) in enumerate(zip(sample, tiles, strict=True)):
        y = top + line_height * number
        x = write(_MARGIN, y, row.id)
        for label in row.labels:
            draw.rectangle((x, y + 3, x + 9, y + 12), tuple(PALETTE[label].tolist()))
            x = write(x + 14, y, classes[label - 1])
        write(x, y, note)
        y += _CAPTION + _GAP
        for centre, tile in zip(centres, line, strict=True):
            height, width = tile.shape[:2]
            sheet.paste(Image.fromarray(tile), (centre - width // 2, y + (_TILE[0] - height) // 2))
    return sheet
