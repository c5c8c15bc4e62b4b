"""Superpixel quality and time on photos with human segmentations, beside two standard methods.

    python -m benchmarks.superpixel_quality FOLDER

FOLDER holds `images/*.jpg` and, under the same names, `groundTruth/*.mat` of the Berkeley segmentation data set
(BSDS500), several human segmentations a photo. Each method gives at most 64 regions: those without such a bound
are tuned to it, photo by photo. Prints means over photos of the mean over each photo's segmentations, and the
median time of one call, tuning left out.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.ndimage import maximum_filter
from skimage.segmentation import felzenszwalb, slic

from ssc.superpixels import superpixels

REGIONS = 64

Segment = Callable[[np.ndarray, float], np.ndarray]


def contingency(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels that superpixel s and true segment t share, int (S, T), of two label maps (H, W) from 0."""
    columns = int(truth.max()) + 1
    codes = labels.astype(np.int64) * columns + truth
    return np.bincount(codes.ravel(), minlength=(int(labels.max()) + 1) * columns).reshape(-1, columns)


def achievable_accuracy(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels right when each superpixel takes its commonest true segment (ASA), 0..1."""
    return contingency(labels, truth).max(1).sum() / labels.size


def undersegmentation_error(labels: np.ndarray, truth: np.ndarray) -> float:
    """Smaller side of every superpixel that a true segment cuts, as a share of the image.

    Neubert & Protzel, "Superpixel benchmark and comparison" (2012): sum over segments t and superpixels s of
    min(|s and t|, |s without t|), divided by the number of pixels.
    """
    shared = contingency(labels, truth)
    return np.minimum(shared, shared.sum(1, keepdims=True) - shared).sum() / labels.size


def boundaries(labels: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour has another label, bool (H, W)."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def boundary_recall(labels: np.ndarray, truth: np.ndarray, tolerance: int = 2) -> float:
    """Share of true boundary pixels with a superpixel boundary within `tolerance` rows and columns, 0..1."""
    near = maximum_filter(boundaries(labels), size=2 * tolerance + 1)
    true = boundaries(truth)
    return near[true].mean() if true.any() else 1.0


def slic_at(image: np.ndarray, regions: float) -> np.ndarray:
    """scikit-image's SLIC, which gives about as many regions as it is asked for, often fewer."""
    return slic(image, n_segments=round(regions), start_label=0)


def felzenszwalb_at(image: np.ndarray, scale: float) -> np.ndarray:
    """scikit-image's Felzenszwalb with the smoothing and the smallest region of ours."""
    return felzenszwalb(image, scale=scale, sigma=0.8, min_size=image.shape[0] * image.shape[1] // (10 * REGIONS))


def tuned(segment: Segment, image: np.ndarray, fine: float, coarse: float) -> float:
    """The parameter between `fine` (too many regions) and `coarse` that gives closest to 64 regions from below."""
    for _ in range(12):
        middle = (fine * coarse) ** 0.5
        if segment(image, middle).max() < REGIONS:
            coarse = middle
        else:
            fine = middle
    return coarse


# A segmentation by image and parameter, and the parameter for an image.
METHODS: dict[str, tuple[Segment, Callable[[np.ndarray], float]]] = {
    "ssc": (lambda image, regions: superpixels(image, max_regions=regions), lambda image: REGIONS),
    "Felzenszwalb": (felzenszwalb_at, lambda image: tuned(felzenszwalb_at, image, 1.0, 1e5)),
    "SLIC, 64 asked": (slic_at, lambda image: REGIONS),
    "SLIC, tuned": (slic_at, lambda image: tuned(slic_at, image, 4.0 * REGIONS, REGIONS / 4)),
}


def measure(segment: Segment, parameter: Callable[[np.ndarray], float], folder: Path) -> np.ndarray:
    """Regions, ASA, boundary recall, undersegmentation error and seconds of every photo, (N, 5)."""
    rows = []
    for path in sorted((folder / "images").glob("*.jpg")):
        image = np.asarray(Image.open(path).convert("RGB"))
        value = parameter(image)
        start = time.perf_counter()
        labels = segment(image, value)
        seconds = time.perf_counter() - start
        humans = loadmat(folder / "groundTruth" / f"{path.stem}.mat")["groundTruth"][0]
        truths = [human["Segmentation"][0, 0] for human in humans]
        scores = [
            np.mean([score(labels, truth) for truth in truths])
            for score in (achievable_accuracy, boundary_recall, undersegmentation_error)
        ]
        rows.append([labels.max() + 1, *scores, seconds])
    if not rows:
        raise SystemExit(f"no photos in {folder / 'images'}; give the folder that holds images/ and groundTruth/")
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Superpixel quality on photos with human segmentations.")
    parser.add_argument("folder", type=Path, help="folder with images/*.jpg and groundTruth/*.mat (BSDS500)")
    folder = parser.parse_args().folder
    superpixels(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))  # compile outside the timing
    print(f"{'method':<16}{'regions':>8}{'ASA':>8}{'recall':>8}{'UE':>8}{'ms':>8}")
    for name, (segment, parameter) in METHODS.items():
        rows = measure(segment, parameter, folder)
        regions, accuracy, recall, error, _ = rows.mean(axis=0)
        milliseconds = 1e3 * np.median(rows[:, 4])
        print(f"{name:<16}{regions:8.1f}{accuracy:8.4f}{recall:8.4f}{error:8.4f}{milliseconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
