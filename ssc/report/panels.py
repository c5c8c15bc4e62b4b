"""The pictures of the report: what each stage, or each experiment, makes of a few photos, side by side.

Each function writes one sheet, with its own columns beside the photos and the ground truth; the errors are those of
`ssc.report.sheets.write_sheet`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from skimage.util import img_as_ubyte

from ssc.archive import Archive
from ssc.data.index import Row
from ssc.data.transforms import normalise, resize_image, resize_labels
from ssc.losses import decoder_colours
from ssc.models.classifier import CAMClassifier
from ssc.models.deeplab import load_networks
from ssc.models.irn import IRN
from ssc.models.reconstruction import ReconstructionNet, decoder_input
from ssc.models.weights import load_part, read_header
from ssc.prediction import predict_steps
from ssc.pseudo_labels import edge_map
from ssc.report.pictures import colourise, grey
from ssc.report.sheets import (
    Column,
    Sheet,
    cams_column,
    labels_column,
    overlay_column,
    superpixels_column,
    write_sheet,
)
from ssc.runtime.device import select_device
from ssc.workflow.settings import Prediction


def write_panels(
    *,
    archives: Mapping[str, Sequence[str | Path]],
    weights: Mapping[str, str | Path],
    prediction: Prediction,
    edges: Mapping,
    device: str,
    **sheet: Unpack[Sheet],
) -> None:
    """Training images from photo to prediction, one stage per column.

    A column without content (no masks, no reconstruction, a stage that the run does not make) is left out.

    Args:
        archives: shard archives of `superpixels`, `cams` and `pseudo_labels`, as far as there are any.
        weights: weight files of `segmentation` and, as far as there are any, of `classifier` and `irn`.
        prediction: settings of the segmentation network's inference.
        edges: how class boundaries are found, keyword arguments of `ssc.pseudo_labels.edge_map`.
        device: see the config.
    """
    device = select_device(device)
    found = {name: Archive(*files) for name, files in archives.items() if files}
    columns = {}
    if "superpixels" in found:
        columns["superpixels"] = superpixels_column(found["superpixels"])
    if "cams" in found:
        columns["CAM"] = cams_column(found["cams"])
    if weights.get("classifier") and _has_decoder(weights["classifier"]):
        columns["reconstruction"] = _reconstruction_column(weights["classifier"], device)
    if weights.get("irn"):
        columns["IRN edges"] = _edges_column(weights["irn"], edges, device)
    if "pseudo_labels" in found:
        columns["pseudo-label"] = labels_column(found["pseudo_labels"])
    columns["prediction"] = _prediction_column(weights["segmentation"], prediction, device)
    write_sheet(columns, **sheet)


def write_val_panels(*, predictions: Sequence[str | Path], **sheet: Unpack[Sheet]) -> None:
    """Images of a split: photo, ground truth (left out without masks), prediction, overlay.

    A split without images gives the headings alone.

    Args:
        predictions: shard archives of the predicted label maps.
    """
    predicted = Archive(*predictions)
    columns = {"prediction": labels_column(predicted), "overlay": overlay_column(predicted)}
    write_sheet(columns, **sheet)


def write_ablation_panels(*, cams: Mapping[str, Sequence[str | Path]], **sheet: Unpack[Sheet]) -> None:
    """Training images: photo, ground truth, and the CAM of each experiment (paper Figs. 1 and 5). No network is run.

    Args:
        cams: by experiment, shard archives of its CAMs.
    """
    columns = {experiment: cams_column(Archive(*files)) for experiment, files in cams.items()}
    write_sheet(columns, **sheet)


def write_reconstructions(*, classifiers: Mapping[str, str | Path], device: str, **sheet: Unpack[Sheet]) -> None:
    """Training images: photo, and what the decoder of each experiment paints from its features.

    Args:
        classifiers: by experiment, the weight file of its classifier; one without a decoder, and one that stood
            before, get no column.
        device: see the config.
    """
    device = select_device(device)
    first = {file: experiment for experiment, file in reversed(classifiers.items()) if _has_decoder(file)}
    shown = {experiment: file for experiment, file in classifiers.items() if first.get(file) == experiment}
    columns = {experiment: _reconstruction_column(file, device) for experiment, file in shown.items()}
    write_sheet(columns, **sheet, show_masks=False)


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
        early, features = model.forward_features(normalise(resize_image(image, whole))[None].to(device))
        source = decoder_input(early, features, source=cdr["source"], rectify=cdr["rectify"])
        colours = decoder_colours(decoder(source)[0], cdr.get("range", "normalised"))
        return resize_image(img_as_ubyte(colours.cpu().permute(1, 2, 0).numpy()), size)

    return draw


def _edges_column(path: str | Path, options: Mapping, device: torch.device) -> Column:
    network = load_part(path, "irn", IRN, device=device)
    return lambda row, image, size: resize_image(grey(edge_map(network, image, **options)), size)


def _prediction_column(path: str | Path, settings: Prediction, device: torch.device) -> Column:
    networks = load_networks(path, device=device)
    own = {"scales": settings.scales, "flip": settings.flip, "square": settings.square, "how": settings.fuse}
    if settings.crf.enabled:
        own |= {"crf": settings.crf.options(), "colours": settings.crf.colours}

    def draw(row: Row, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        *_, labels = predict_steps(networks, image, **own)
        return colourise(resize_labels(labels, size))

    return draw
