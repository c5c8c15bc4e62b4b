"""Superpixels of `ssc.superpixels`: time beside scikit-image's Felzenszwalb, and quality beside two standard methods.

    python -m benchmarks.superpixels [FOLDER]

Quality is measured on the Berkeley segmentation data set (BSDS500): FOLDER holds `images/*.jpg` and, under the same
names, `groundTruth/*.mat`, several human segmentations a photo. Each method gives at most 64 regions: those without
such a bound are tuned to it, photo by photo. The scores are means over photos of the mean over each photo's
segmentations.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.ndimage import maximum_filter
from skimage.segmentation import felzenszwalb, slic

from benchmarks.harness import Figure, Row, interleaved, run
from benchmarks.scenes import VOC_PHOTO, photos_of, shared
from ssc.runtime.errors import InputError
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
    return felzenszwalb(image, scale=scale, sigma=0.8, min_size=smallest_region(image))


def smallest_region(image: np.ndarray) -> int:
    """Smallest region before merging, in pixels: the default of ours."""
    return image.shape[0] * image.shape[1] // (10 * REGIONS)


def unmerged(image: np.ndarray) -> np.ndarray:
    """Our Felzenszwalb alone: so many regions are allowed that none is merged."""
    return superpixels(image, max_regions=image.shape[0] * image.shape[1], min_size=smallest_region(image))


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
    "ours": (lambda image, regions: superpixels(image, max_regions=regions), lambda image: REGIONS),
    "Felzenszwalb": (felzenszwalb_at, lambda image: tuned(felzenszwalb_at, image, 1.0, 1e5)),
    "SLIC, 64 asked": (slic_at, lambda image: REGIONS),
    "SLIC, tuned": (slic_at, lambda image: tuned(slic_at, image, 4.0 * REGIONS, REGIONS / 4)),
}
SCORES = {
    "ASA": achievable_accuracy,
    "boundary recall": boundary_recall,
    "undersegmentation error": undersegmentation_error,
}


def quality(folder: Path, most: int) -> dict[str, dict[str, float]]:
    """Each score, and the number of regions, by method, on up to `most` photos of a BSDS folder.

    Raises:
        InputError: the folder holds no photos.
    """
    paths = sorted((folder / "images").glob("*.jpg"))[:most]
    if not paths:
        raise InputError(f"no photos in {folder / 'images'}; give the folder that holds images/ and groundTruth/")
    found = {score: {method: [] for method in METHODS} for score in (*SCORES, "regions")}
    for path in paths:
        image = np.asarray(Image.open(path).convert("RGB"))
        humans = loadmat(folder / "groundTruth" / f"{path.stem}.mat")["groundTruth"][0]
        truths = [human["Segmentation"][0, 0] for human in humans]
        for method, (segment, parameter) in METHODS.items():
            labels = segment(image, parameter(image))
            found["regions"][method].append(labels.max() + 1)
            for name, score in SCORES.items():
                found[name][method].append(np.mean([score(labels, truth) for truth in truths]))
    return {score: {method: float(np.mean(values)) for method, values in own.items()} for score, own in found.items()}


def time_figures(images: list[np.ndarray]) -> list[Figure]:
    """Time of ours beside scikit-image's Felzenszwalb, and of the merging beside our own."""
    functions = {
        "skimage Felzenszwalb": lambda: [felzenszwalb_at(image, 50) for image in images],
        "ours": lambda: [superpixels(image, max_regions=REGIONS) for image in images],
        "ours without merging": lambda: [unmerged(image) for image in images],
    }
    functions["ours"]()
    seconds, _ = interleaved(functions, rounds=5)
    reference, ours, alone = (1000 * value / len(images) for value in seconds.values())
    return [
        Figure(
            "share of skimage Felzenszwalb's time", ours / reference, at_most=1.5,
            parts={"skimage": reference, "ours": ours}, parts_unit="ms per photo",
        ),
        Figure(
            "merging, share of our Felzenszwalb's time", (ours - alone) / alone, at_most=0.5,
            parts={"merging": ours - alone, "Felzenszwalb": alone}, parts_unit="ms per photo",
        ),
    ]  # fmt: skip


def quality_figures(folder: Path, most: int) -> list[Figure]:
    """The scores; ours must be the best in ASA."""
    figures = []
    for name, by_method in quality(folder, most).items():
        others = max(value for method, value in by_method.items() if method != "ours")
        limit = others if name == "ASA" else None
        figures.append(Figure(name, by_method["ours"], at_least=limit, parts=by_method))
    return figures


def measure(*, quick: bool, photos: Path | None = None) -> Row:
    """Superpixels: time against scikit-image's Felzenszwalb alone; quality on photos with human segmentations."""
    images, source = photos_of(None, VOC_PHOTO, most=1 if quick else 8)
    figures = time_figures(images)
    folder = photos or shared("data/bsds")
    if folder:
        figures += quality_figures(folder, 1 if quick else 1000)
    return Row(
        "superpixels",
        f"{source} of {VOC_PHOTO[1]} x {VOC_PHOTO[0]}: Felzenszwalb of scikit-image, ours with merging to {REGIONS}",
        figures,
        "" if folder else "Quality was not measured: name a folder with images/ and groundTruth/ of BSDS500.",
    )


if __name__ == "__main__":
    run(measure, photos="folder with images/*.jpg and groundTruth/*.mat of BSDS500 (default: data/bsds in SSC_SHARED)")
