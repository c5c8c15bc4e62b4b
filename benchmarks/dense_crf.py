"""Dense CRF of `ssc.crf` against pydensecrf: both passes that make the IRN labels of a photo.

    python -m benchmarks.dense_crf [FOLDER]

pydensecrf is a comparison only and no dependency; `pip install pydensecrf2` compiles it.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Figure, Row, interleaved, run
from benchmarks.scenes import VOC_PHOTO, blobs, photos_of
from ssc.cams import upsample
from ssc.crf import BILATERAL, GAUSSIAN, DenseCRF
from ssc.seeds import argmax_labels

CLASSES = 2
BACKGROUNDS = (0.3, 0.1)
CONFIDENCE, ITERATIONS = 0.7, 10


def seed_maps(cams: torch.Tensor) -> np.ndarray:
    """The label maps (2, H, W) of both passes, from CAMs (K, H, W)."""
    return np.stack([argmax_labels(cams, background) for background in BACKGROUNDS])


def two_calls(image: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The refined label maps (2, H, W) by two calls of pydensecrf, as IRN's code makes them."""
    from pydensecrf import densecrf
    from pydensecrf.utils import unary_from_labels

    refined = []
    for labels in maps:
        crf = densecrf.DenseCRF2D(image.shape[1], image.shape[0], CLASSES + 1)
        crf.setUnaryEnergy(unary_from_labels(labels, CLASSES + 1, gt_prob=CONFIDENCE, zero_unsure=False))
        (sxy, weight), (bilateral_sxy, srgb, bilateral_weight) = GAUSSIAN, BILATERAL
        crf.addPairwiseGaussian(sxy=sxy, compat=weight)
        crf.addPairwiseBilateral(
            sxy=bilateral_sxy, srgb=srgb, rgbim=np.ascontiguousarray(image), compat=bilateral_weight
        )
        refined.append(np.argmax(crf.inference(ITERATIONS), axis=0).reshape(labels.shape))
    return np.stack(refined)


def one_lattice(image: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The refined label maps (2, H, W), ours."""
    return DenseCRF(image).refine_labels(maps, num_labels=CLASSES + 1, confidence=CONFIDENCE, iterations=ITERATIONS)


def measure(*, quick: bool, photos: Path | None = None) -> Row:
    """Dense CRF: both IRN passes on one lattice against two calls of pydensecrf."""
    name, what = "dense_crf", f"both IRN passes, {CLASSES} classes and background: two calls of pydensecrf, ours"
    size = (94, 125) if quick else VOC_PHOTO
    images, source = photos_of(None if quick else photos, size, most=4)
    cams = upsample(blobs(-(-size[0] // 4), -(-size[1] // 4), CLASSES), size)
    maps = seed_maps(cams)
    one_lattice(images[0], maps)
    functions = {"ours": lambda: [one_lattice(image, maps) for image in images]}
    note = ""
    if find_spec("pydensecrf"):
        functions = {"pydensecrf": lambda: [two_calls(image, maps) for image in images], **functions}  # shown first
    else:
        note = (
            "pydensecrf is not installed, so that nothing is compared: .venv/bin/pip install pydensecrf2 (it compiles)."
        )
    seconds, labels = interleaved(functions, rounds=3)
    seconds = {name: value / len(images) for name, value in seconds.items()}
    if note:
        figures = [Figure("ours, per photo", seconds["ours"], "s")]
    else:
        equal = [np.mean(a == b) for a, b in zip(labels["pydensecrf"], labels["ours"], strict=True)]
        figures = [
            Figure(
                "share of the time", seconds["ours"] / seconds["pydensecrf"], at_most=0.5,
                parts=seconds, parts_unit="s per photo",
            ),
            Figure("equal labels", 100 * float(np.mean(equal)), "%", at_least=99.5, parts={"least": 100 * min(equal)}),
        ]  # fmt: skip
    return Row(name, f"{source} of {size[1]} x {size[0]}, {what}", figures, note)


if __name__ == "__main__":
    run(measure, photos="folder with JPEGs of 500 x 375 pixels (default: VOC's in SSC_SHARED, else drawn scenes)")
