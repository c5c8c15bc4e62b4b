"""Dense CRF: sharpens label maps and class probabilities along the edges of the photo.

Mean-field inference in a fully connected CRF (Krähenbühl and Koltun, "Efficient Inference in Fully Connected
CRFs with Gaussian Edge Potentials", NIPS 2011) with a Potts compatibility and two pairwise kernels: a Gaussian
one over pixel positions and a bilateral one over positions and colours. Every kernel is normalised
symmetrically and applied on a permutohedral lattice (`ssc.crf.permutohedral`), which depends on the photo alone:
`DenseCRF` builds both once and refines any number of label maps with them. SSC refines the labels that train the
IRN this way, and optionally its segmentation.
"""

import math

import numpy as np
from numba import njit

from ssc.crf.permutohedral import LANES, add_filtered, gaussian_kernel

# The kernels that refine the labels for the IRN.
GAUSSIAN = (3, 3)
BILATERAL = (50, 5, 10)

MIN_PROBABILITY = 1e-5


class DenseCRF:
    """The pairwise terms of one photo, ready to refine any number of its label maps.

    Constant after construction, and most of the work runs without the GIL: refine photos in threads.

    Args:
        image: uint8 (H, W, 3), RGB.
        gaussian: (sxy, weight) of the position kernel; standard deviation in pixels.
        bilateral: (sxy, srgb, weight) of the position and colour kernel; standard deviations in pixels and in
            grey levels of 0..255.

    Raises:
        ValueError: the image is not uint8 (H, W, 3) or has no pixels, or a standard deviation is not positive.
        ValueError: a standard deviation is too small for the lattice: srgb below about 0.6, sxy below about a
            thousandth of the photo's height or an 1,800th of its width.
    """

    def __init__(
        self,
        image: np.ndarray,
        *,
        gaussian: tuple[float, float] = GAUSSIAN,
        bilateral: tuple[float, float, float] = BILATERAL,
    ):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"the image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
        self.shape = image.shape[:2]
        rows, columns = np.indices(self.shape)
        positions = np.stack([columns.ravel(), rows.ravel()], axis=1)
        colours = image.reshape(-1, 3)
        (gaussian_sxy, gaussian_weight), (bilateral_sxy, srgb, bilateral_weight) = gaussian, bilateral
        if min(gaussian_sxy, bilateral_sxy, srgb) <= 0:
            raise ValueError(f"standard deviations must be positive: {gaussian=}, {bilateral=}")
        self.kernels = (
            gaussian_kernel(positions / gaussian_sxy, gaussian_weight),
            gaussian_kernel(np.hstack([positions / bilateral_sxy, colours / srgb]), bilateral_weight),
        )

    def refine_labels(
        self, labels: np.ndarray, *, num_labels: int, confidence: float = 0.7, iterations: int = 10
    ) -> np.ndarray:
        """Refine label maps that are right with probability `confidence` at each pixel.

        The unary energy is -log(confidence) for the given label and -log((1 - confidence) / (num_labels - 1))
        for every other one. Several maps in one call cost less than one by one.

        Args:
            labels: int (H, W), or (L, H, W) for L maps to be refined independently; values 0..num_labels - 1.
            num_labels: number of labels in play.
            confidence: between 0 and 1, both excluded.
            iterations: mean-field updates.

        Returns:
            int64, shaped like `labels`: the most probable label of each pixel.

        Raises:
            ValueError: `labels` is not integer or not shaped as above, or `confidence` is out of range.
            ValueError: a label lies outside 0..num_labels - 1.
        """
        if labels.ndim not in (2, 3) or labels.shape[-2:] != self.shape or labels.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be integers shaped {self.shape} like the photo, or a stack of such maps, "
                f"not {labels.dtype} {labels.shape}"
            )
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, both excluded, not {confidence}")
        if labels.size and not 0 <= labels.min() <= labels.max() < num_labels:
            raise ValueError(
                f"label map holds labels {labels.min()}..{labels.max()} where 0..{num_labels - 1} are allowed; "
                "raise num_labels, or give ignored pixels a label of their own"
            )
        given = labels.reshape(-1, labels.shape[-2] * labels.shape[-1]).T
        other = math.log((1 - confidence) / max(num_labels - 1, 1))
        unary = np.full((*given.shape, num_labels), other, np.float32)
        np.put_along_axis(unary, given[..., None].astype(np.intp), math.log(confidence), axis=2)
        return _mean_field(unary, self.kernels, iterations).argmax(axis=2).T.reshape(labels.shape)

    def refine_probabilities(self, probabilities: np.ndarray, *, iterations: int = 10) -> np.ndarray:
        """Refine class probabilities; the unary energy is -log(max(probability, 1e-5)).

        Args:
            probabilities: float (K, H, W), not negative; each pixel's should add up to 1.
            iterations: mean-field updates.

        Returns:
            float32 (K, H, W), adding up to 1 at each pixel.

        Raises:
            ValueError: the shape does not fit the photo.
            ValueError: a probability is negative, infinite or not a number.
        """
        if probabilities.ndim != 3 or probabilities.shape[1:] != self.shape or len(probabilities) == 0:
            raise ValueError(f"probabilities must be shaped (K, *{self.shape}), not {probabilities.shape}")
        if not 0 <= probabilities.min() <= probabilities.max() < math.inf:
            raise ValueError("a probability is negative, infinite or not a number; give softmax outputs")
        unary = np.log(np.clip(probabilities, MIN_PROBABILITY, 1), dtype=np.float32)
        refined = _mean_field(unary.reshape(len(unary), -1).T[:, None], self.kernels, iterations)
        return np.ascontiguousarray(refined[:, 0].T).reshape(unary.shape)


def refine_labels(
    image: np.ndarray,
    labels: np.ndarray,
    num_labels: int,
    confidence: float = 0.7,
    iterations: int = 10,
    gaussian: tuple[float, float] = GAUSSIAN,
    bilateral: tuple[float, float, float] = BILATERAL,
) -> np.ndarray:
    """`DenseCRF.refine_labels` for a photo that is needed once."""
    crf = DenseCRF(image, gaussian=gaussian, bilateral=bilateral)
    return crf.refine_labels(labels, num_labels=num_labels, confidence=confidence, iterations=iterations)


def refine_probabilities(
    image: np.ndarray,
    probabilities: np.ndarray,
    iterations: int = 10,
    gaussian: tuple[float, float] = GAUSSIAN,
    bilateral: tuple[float, float, float] = BILATERAL,
) -> np.ndarray:
    """`DenseCRF.refine_probabilities` for a photo that is needed once."""
    crf = DenseCRF(image, gaussian=gaussian, bilateral=bilateral)
    return crf.refine_probabilities(probabilities, iterations=iterations)


def _mean_field(unary, kernels, iterations):
    """Mean-field inference (Krähenbühl and Koltun, algorithm 1) with a Potts compatibility.

    Args:
        unary: float32 (N, L, K), log-probability of K labels at N pixels in each of L independent maps.
        kernels: the pairwise terms.
        iterations: number of updates of Q = softmax(unary + sum of weight * kernel Q), from Q = softmax(unary).

    Returns:
        float32 (N, L, K), the marginals Q.
    """
    pixels, maps, labels = unary.shape
    channels = maps * labels
    # -inf keeps the padding out of every softmax: its Q is 0.
    padded = np.full((pixels, -(-channels // LANES) * LANES), -np.inf, np.float32)
    padded[:, :channels] = unary.reshape(pixels, channels)
    q, logits = _softmax(padded.copy(), maps, labels), np.empty_like(padded)
    scratches = [kernel.scratch() for kernel in kernels]
    for _ in range(iterations):
        np.copyto(logits, padded)
        for kernel, scratch in zip(kernels, scratches, strict=True):
            add_filtered(logits, q, scratch, *kernel)
        q, logits = _softmax(logits, maps, labels), q
    return q[:, :channels].reshape(unary.shape)


def _softmax(rows, maps, labels):
    """Softmax, in place, of each run of `labels` among the first maps * labels entries of every row."""
    _subtract_maximum(rows, maps, labels)
    np.exp(rows, out=rows)  # numpy's exp is vectorised, a compiled scalar one several times slower
    _divide_by_sum(rows, maps, labels)
    return rows


@njit(cache=True, nogil=True)
def _subtract_maximum(rows, maps, labels):
    for p in range(len(rows)):
        for start in range(0, maps * labels, labels):
            largest = rows[p, start]
            for k in range(start + 1, start + labels):
                largest = max(largest, rows[p, k])
            for k in range(start, start + labels):
                rows[p, k] -= largest


@njit(cache=True, nogil=True)
def _divide_by_sum(rows, maps, labels):
    for p in range(len(rows)):
        for start in range(0, maps * labels, labels):
            total = np.float32(0)
            for k in range(start, start + labels):
                total += rows[p, k]
            inverse = np.float32(1) / total
            for k in range(start, start + labels):
                rows[p, k] *= inverse
