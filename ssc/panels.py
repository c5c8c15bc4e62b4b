"""The pictures of the report: what each stage makes of a few photos, side by side. Written as PNG, atomically."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ssc.archive import Archive
from ssc.cams import read_cams, upsample
from ssc.conventions import IGNORE
from ssc.data.index import Row, read_index
from ssc.data.transforms import normalise, read_image, resize_image, resize_labels
from ssc.device import select_device
from ssc.files import atomic
from ssc.models.classifier import CAMClassifier
from ssc.models.deeplab import DeepLabV2
from ssc.models.irn import IRN
from ssc.models.reconstruction import ReconstructionNet
from ssc.palette import voc_palette
from ssc.prediction import predict_labels
from ssc.pseudo_labels import edge_map
from ssc.weights import load_part, read_header

# A column of a sheet: row of the index, its photo (H, W, 3) and a tile size (h, w) to a picture uint8 (h, w, 3).
Column = Callable[[Row, np.ndarray, tuple[int, int]], np.ndarray]

_PALETTE = np.array(voc_palette(), np.uint8).reshape(256, 3)
_IGNORE_COLOUR = (211, 211, 211)
_LINE_COLOUR = (255, 235, 59)

_TILE = (144, 216)  # height and width, in pixels, that a photo is fitted into
_GAP, _MARGIN = 6, 14  # pixels
_HEADING, _CAPTION = 16, 13  # font sizes
_TEXT_COLOUR = (34, 34, 34)


def colourise(labels: np.ndarray) -> np.ndarray:
    """Label map (H, W) with values 0..255 as a picture in the VOC palette, uint8 (H, W, 3); background is black.

    Raises:
        ValueError: a label lies outside 0..255.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() <= 255:
        raise ValueError(f"labels lie in {labels.min()}..{labels.max()}, not in 0..255")
    return _PALETTE[labels]


def overlay(image: np.ndarray, labels: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """Labels above 0 blended over their photo; the outermost pixels of each region are stronger.

    Args:
        image: uint8 (H, W, 3).
        labels: integers (H, W) in 0..255; 255 (ignored) is drawn light grey, other labels in the VOC palette.
        alpha: opacity of the colours, 0..1.

    Returns:
        uint8 (H, W, 3); the photo itself where the label is 0.

    Raises:
        ValueError: the shapes differ, or a label lies outside 0..255.
    """
    if image.shape != (*labels.shape, 3):
        raise ValueError(f"image {image.shape} and labels {labels.shape} differ in size")
    colours = colourise(labels)
    colours[labels == IGNORE] = _IGNORE_COLOUR
    border = _boundaries(labels) | _boundaries(labels[::-1, ::-1])[::-1, ::-1]
    opacity = np.where(border, (1 + alpha) / 2, alpha) * (labels > 0)
    return _blend(image, colours, opacity)


def write_panels(
    *,
    index: str | Path,
    superpixels: Sequence[str | Path],
    cams: Sequence[str | Path],
    classifier: str | Path,
    irn: str | Path,
    pseudo_labels: Sequence[str | Path],
    segmentation: str | Path,
    masks: Sequence[str | Path],
    output: str | Path,
    panels: int,
    prediction: dict,
    edge_scale: float = 1.0,
    device: str = "auto",
) -> None:
    """Write one sheet of training images, from photo to prediction: one image per row, one stage per column.

    The images are spread evenly over the training split; those with a mask and with labels come before others. A
    column without content (no masks, no superpixels, no reconstruction) is left out.

    Args:
        index: the index.
        superpixels, cams, pseudo_labels, masks: shard archives of the training split; superpixels may be empty.
        classifier: weight file of the classifier, with the part `reconstruction` if CDR was on.
        irn: weight file with the part `irn`.
        segmentation: weight file with the part `segmentation`.
        output: PNG file.
        panels: number of images; all images if there are fewer.
        prediction: the `prediction` section of the config.
        edge_scale: factor of the photo's size at which class boundaries are found.
        device: see the config.

    Raises:
        InputError: a file is absent or belongs to another index, or a photo cannot be read.
    """
    device = select_device(device)
    table = read_index(index)
    rows, columns = _start(table.split("train"), Archive(*masks), panels)
    activations = Archive(*cams)
    edges = load_part(irn, "irn", IRN, device=device)
    network = load_part(segmentation, "segmentation", DeepLabV2, device=device)
    if superpixels:
        regions = Archive(*superpixels)
        columns["superpixels"] = lambda row, image, size: _outlines(
            resize_image(image, size), resize_labels(regions.labels(row.id), size)
        )
    columns["CAM"] = lambda row, image, size: resize_image(_heat(image, read_cams(activations, row.id)[1]), size)
    if "reconstruction" in read_header(classifier)["parts"]:
        columns["reconstruction"] = _reconstruction_column(classifier, device)
    columns["IRN edges"] = lambda row, image, size: resize_image(_grey(edge_map(edges, image, scale=edge_scale)), size)
    columns["pseudo-label"] = _labels_column(Archive(*pseudo_labels))
    columns["prediction"] = lambda row, image, size: colourise(
        resize_labels(predict_labels(network, image, prediction), size)
    )
    _write_sheet(rows, columns, table.classes, output)


def write_val_panels(
    *,
    index: str | Path,
    split: str,
    predictions: Sequence[str | Path],
    masks: Sequence[str | Path],
    output: str | Path,
    panels: int,
) -> None:
    """Write one sheet of a split: image, ground truth (left out without masks), prediction, overlay.

    A split without images gives the headings alone.

    Args:
        index, split: the images, sampled as in `write_panels`.
        predictions, masks: shard archives of label maps and of ground truth.
        output: PNG file.
        panels: number of images; all images if there are fewer.

    Raises:
        InputError: a file is absent or belongs to another index, or a photo cannot be read.
    """
    table = read_index(index)
    rows, columns = _start(table.split(split), Archive(*masks), panels)
    predicted = Archive(*predictions)
    columns["prediction"] = _labels_column(predicted)
    columns["overlay"] = lambda row, image, size: overlay(
        resize_image(image, size), resize_labels(predicted.labels(row.id), size)
    )
    _write_sheet(rows, columns, table.classes, output)


def _start(rows: list[Row], masks: Archive, count: int) -> tuple[list[Row], dict[str, Column]]:
    """A sample of at most `count` rows, evenly spaced, and the columns photo and, with masks, ground truth.

    Where any row has a mask, all of the sample have one; likewise labels.
    """
    measured = [row for row in rows if row.id in masks]
    rows = measured or rows
    rows = [row for row in rows if row.labels] or rows
    count = min(count, len(rows))
    sample = [rows[(2 * k + 1) * len(rows) // (2 * count)] for k in range(count)]
    columns: dict[str, Column] = {"image": lambda row, image, size: resize_image(image, size)}
    if measured:
        columns["ground truth"] = _labels_column(masks)
    return sample, columns


def _labels_column(archive: Archive) -> Column:
    return lambda row, image, size: colourise(resize_labels(archive.labels(row.id), size))


def _reconstruction_column(path: str | Path, device: torch.device) -> Column:
    """What CDR's decoder paints from the classifier's features (paper section III-B)."""
    header = read_header(path)
    stride = header["parts"]["classifier"]["options"]["output_stride"]
    early = header["facts"]["settings"]["cdr"]["source"] == "early"
    model = load_part(path, "classifier", CAMClassifier, device=device)
    decoder = load_part(path, "reconstruction", ReconstructionNet, device=device)

    @torch.no_grad()
    def draw(row: Row, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        # Reflected borders in the decoder need two cells each way.
        whole = tuple(stride * max(2, round(side / stride)) for side in image.shape[:2])
        third, features = model.stages(normalise(resize_image(image, whole))[None].to(device))
        painted = decoder(third if early else features)[0].cpu().permute(1, 2, 0).numpy()
        return resize_image(np.rint((painted + 1) * 127.5).astype(np.uint8), size)

    return draw


def _heat(image: np.ndarray, cams: torch.Tensor) -> np.ndarray:
    """Largest of the CAMs (K, h, w) at each pixel as a heat map over the photo, which shows where it is low."""
    if len(cams) == 0:
        return image
    strongest = upsample(cams, image.shape[:2]).amax(dim=0).clamp(0, 1).numpy()
    colours = matplotlib.colormaps["turbo"](strongest, bytes=True)[..., :3]
    return _blend(image, colours, 0.25 + 0.5 * strongest)


def _outlines(image: np.ndarray, regions: np.ndarray) -> np.ndarray:
    return np.where(_boundaries(regions)[..., None], np.uint8(_LINE_COLOUR), image)


def _grey(values: torch.Tensor) -> np.ndarray:
    """Map (h, w) in 0..1 as a grey picture, uint8 (h, w, 3)."""
    return np.repeat(np.rint(255 * values.cpu().numpy()).astype(np.uint8)[..., None], 3, axis=2)


def _boundaries(labels: np.ndarray) -> np.ndarray:
    """Pixels (bool (H, W)) whose right or lower neighbour has another label: lines one pixel wide."""
    border = np.zeros(labels.shape, bool)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    return border


def _blend(image: np.ndarray, colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32)
    return np.rint(image + opacity[..., None] * (colours - image)).astype(np.uint8)


def _fit(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a photo, scaled to just fit into a tile."""
    scale = min(_TILE[0] / size[0], _TILE[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _write_sheet(rows: list[Row], columns: dict[str, Column], classes: list[str], output: str | Path) -> None:
    """Draw every column of every row, compose and write."""
    tiles = []
    for row in rows:
        image = read_image(row.image)
        tiles.append([draw(row, image, _fit(image.shape[:2])) for draw in columns.values()])
    with atomic(output) as temporary:
        _compose(rows, list(columns), tiles, classes).save(temporary, "png")


def _compose(rows: list[Row], headings: list[str], tiles: list[list[np.ndarray]], classes: list[str]) -> Image.Image:
    """Sheet with a line of headings and, per row, a caption (id, classes with their colours) above its tiles."""
    heading, caption = ImageFont.load_default(_HEADING), ImageFont.load_default(_CAPTION)
    widths = [tile.shape[1] for line in tiles for tile in line]
    step = max(*widths, *(int(heading.getlength(text)) for text in headings)) + _GAP
    line_height = _CAPTION + _TILE[0] + 3 * _GAP
    top = _MARGIN + _HEADING + 2 * _GAP
    size = (2 * _MARGIN + step * len(headings) - _GAP, top + line_height * len(rows) - _GAP + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    centres = [_MARGIN + step * column + (step - _GAP) // 2 for column in range(len(headings))]
    for centre, text in zip(centres, headings, strict=True):
        draw.text((centre, _MARGIN), text, _TEXT_COLOUR, heading, anchor="ma")
    for number, (row, line) in enumerate(zip(rows, tiles, strict=True)):
        y = top + line_height * number
        x = _MARGIN
        draw.text((x, y), row.id, _TEXT_COLOUR, caption)
        x += int(caption.getlength(row.id)) + 2 * _GAP
        for label in row.labels:
            draw.rectangle((x, y + 3, x + 9, y + 12), tuple(_PALETTE[label].tolist()))
            draw.text((x + 14, y), classes[label - 1], _TEXT_COLOUR, caption)
            x += 14 + int(caption.getlength(classes[label - 1])) + 2 * _GAP
        y += _CAPTION + _GAP
        for centre, tile in zip(centres, line, strict=True):
            height, width = tile.shape[:2]
            sheet.paste(Image.fromarray(tile), (centre - width // 2, y + (_TILE[0] - height) // 2))
    return sheet
