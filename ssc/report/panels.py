"""The pictures of the report: what each stage, or each experiment, makes of a few photos, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ssc.archive import Archive
from ssc.cams import read_cams
from ssc.data.index import Row, read_index
from ssc.data.transforms import normalise, resize_image, resize_labels
from ssc.models.classifier import CAMClassifier
from ssc.models.irn import IRN
from ssc.models.reconstruction import ReconstructionNet, decoder_input
from ssc.models.weights import load_part, read_header
from ssc.prediction import load_networks, predict_labels
from ssc.pseudo_labels import edge_map
from ssc.report.pictures import colourise, grey, heat, outlines, overlay
from ssc.report.sheets import Column, choose, first_columns, labels_column, write_sheet
from ssc.runtime.device import select_device


def write_panels(
    *,
    index: str | Path,
    superpixels: Sequence[str | Path],
    cams: Sequence[str | Path],
    classifier: str | Path | None,
    irn: str | Path | None,
    pseudo_labels: Sequence[str | Path],
    segmentation: str | Path,
    masks: Sequence[str | Path],
    scores: str | Path | None,
    output: str | Path,
    panels: int,
    prediction: dict,
    edge_scale: float = 1.0,
    device: str = "auto",
) -> None:
    """Write one sheet of training images, from photo to prediction: one image per row, one stage per column.

    The images are the best, median and worst by `scores`, or an even sample; see `ssc.report.sheets.choose`. A column without
    content (no masks, no superpixels, no reconstruction, a stage that the run does not make) is left out.

    Args:
        index: the index.
        superpixels, cams, pseudo_labels, masks: shard archives of the training split; each may be empty.
        classifier: weight file of the classifier, with the part `reconstruction` if CDR was on; or None.
        irn: weight file with the part `irn`, or None.
        segmentation: weight file of the segmentation network, or of a co-trained pair.
        scores: table of the images' mIoU (see `ssc.report.ranking`), or None.
        output: PNG file.
        panels: number of images; all images if there are fewer.
        prediction: the `prediction` section of the config.
        edge_scale: factor of the photo's size at which class boundaries are found.
        device: see the config.

    Raises:
        InputError: a file is absent or belongs to another index, or a photo cannot be read.
    """
    device = select_device(device)
    table, truth = read_index(index), Archive(*masks)
    sample = choose(table.split("train"), truth, scores, panels)
    columns = first_columns(sample, truth)
    if superpixels:
        columns["superpixels"] = _superpixels_column(Archive(*superpixels))
    if cams:
        columns["CAM"] = _cams_column(Archive(*cams))
    if classifier and _has_decoder(classifier):
        columns["reconstruction"] = _reconstruction_column(classifier, device)
    if irn:
        columns["IRN edges"] = _edges_column(irn, edge_scale, device)
    if pseudo_labels:
        columns["pseudo-label"] = labels_column(Archive(*pseudo_labels))
    columns["prediction"] = _prediction_column(segmentation, prediction, device)
    write_sheet(sample, columns, table.classes, output)


def write_val_panels(
    *,
    index: str | Path,
    split: str,
    predictions: Sequence[str | Path],
    masks: Sequence[str | Path],
    scores: str | Path | None,
    output: str | Path,
    panels: int,
) -> None:
    """Write one sheet of a split: image, ground truth (left out without masks), prediction, overlay.

    A split without images gives the headings alone.

    Args:
        index, split: the images, chosen as in `write_panels`.
        predictions, masks: shard archives of label maps and of ground truth.
        scores: table of the images' mIoU (see `ssc.report.ranking`), or None.
        output: PNG file.
        panels: number of images; all images if there are fewer.

    Raises:
        InputError: a file is absent or belongs to another index, or a photo cannot be read.
    """
    table, truth, predicted = read_index(index), Archive(*masks), Archive(*predictions)
    sample = choose(table.split(split), truth, scores, panels)
    columns = first_columns(sample, truth)
    columns["prediction"] = labels_column(predicted)
    columns["overlay"] = lambda row, image, size: overlay(
        resize_image(image, size), resize_labels(predicted.labels(row.id), size)
    )
    write_sheet(sample, columns, table.classes, output)


def write_ablation_panels(
    *,
    index: str | Path,
    cams: Mapping[str, Sequence[str | Path]],
    masks: Sequence[str | Path],
    scores: str | Path,
    output: str | Path,
    panels: int,
) -> None:
    """Write one sheet of training images: photo, ground truth, and the CAM of each experiment (paper Figs. 1 and 5).

    No network is run.

    Args:
        index: the index.
        cams: by experiment, shard archives of its CAMs.
        masks: shard archives of ground truth.
        scores: table of the images' mIoU by which they are chosen, see `write_panels`.
        output: PNG file.
        panels: number of images; all images if there are fewer.

    Raises:
        InputError: a file is absent or belongs to another index, or a photo cannot be read.
    """
    table, truth = read_index(index), Archive(*masks)
    sample = choose(table.split("train"), truth, scores, panels)
    columns = first_columns(sample, truth)
    columns |= {experiment: _cams_column(Archive(*files)) for experiment, files in cams.items()}
    write_sheet(sample, columns, table.classes, output)


def write_reconstructions(
    *,
    index: str | Path,
    classifiers: Mapping[str, str | Path],
    masks: Sequence[str | Path],
    scores: str | Path,
    output: str | Path,
    panels: int,
    device: str = "auto",
) -> None:
    """Write one sheet of training images: photo, and what the decoder of each experiment paints from its features.

    Args:
        index: the index.
        classifiers: by experiment, the weight file of its classifier; one without a decoder, and one that stood
            before, get no column.
        masks: shard archives of ground truth; images that have one are chosen.
        scores, output, panels: as in `write_ablation_panels`.
        device: see the config.

    Raises:
        InputError: a file is absent or belongs to another index, or a photo cannot be read.
    """
    device = select_device(device)
    table = read_index(index)
    sample = choose(table.split("train"), Archive(*masks), scores, panels)
    columns: dict[str, Column] = {"image": lambda row, image, size: resize_image(image, size)}
    shown = set()
    for experiment, file in classifiers.items():
        if file not in shown and _has_decoder(file):
            columns[experiment] = _reconstruction_column(file, device)
            shown.add(file)
    write_sheet(sample, columns, table.classes, output)


def _superpixels_column(archive: Archive) -> Column:
    return lambda row, image, size: outlines(resize_image(image, size), resize_labels(archive.labels(row.id), size))


def _cams_column(archive: Archive) -> Column:
    return lambda row, image, size: resize_image(heat(image, read_cams(archive, row.id)[1]), size)


def _has_decoder(path: str | Path) -> bool:
    return "reconstruction" in read_header(path)["parts"]


def _reconstruction_column(path: str | Path, device: torch.device) -> Column:
    """What CDR's decoder paints from the classifier's features (paper section III-B)."""
    header = read_header(path)
    stride = header["parts"]["classifier"]["options"]["output_stride"]
    cdr = header["facts"]["settings"]["cdr"]
    model = load_part(path, "classifier", CAMClassifier, device=device)
    decoder = load_part(path, "reconstruction", ReconstructionNet, device=device)

    @torch.no_grad()
    def draw(row: Row, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        # Reflected borders in the decoder need two cells each way.
        whole = tuple(stride * max(2, round(side / stride)) for side in image.shape[:2])
        third, features = model.stages(normalise(resize_image(image, whole))[None].to(device))
        source = decoder_input(third, features, source=cdr["source"], rectify=cdr["rectify"])
        painted = decoder(source)[0].cpu().permute(1, 2, 0).numpy()
        return resize_image(np.rint((painted + 1) * 127.5).astype(np.uint8), size)

    return draw


def _edges_column(path: str | Path, scale: float, device: torch.device) -> Column:
    network = load_part(path, "irn", IRN, device=device)
    return lambda row, image, size: resize_image(grey(edge_map(network, image, scale=scale)), size)


def _prediction_column(path: str | Path, settings: dict, device: torch.device) -> Column:
    networks = load_networks(path, device=device)
    return lambda row, image, size: colourise(resize_labels(predict_labels(networks, image, settings), size))
