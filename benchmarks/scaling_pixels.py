"""Time and memory of each kernel at 1x, 2x and 4x the pixels of a VOC photo, with the fitted exponents.

    python -m benchmarks.scaling_pixels

Each measurement has a process of its own. Memory is what the process holds at most beyond what it held before, inputs
included.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks import alignment_loss, dense_crf, irn_losses, miou, random_walk
from benchmarks.harness import Row, in_fresh_process, interleaved, peak_memory, run, scaling_figures
from benchmarks.scenes import VOC_PHOTO, blobs, drawn_photo
from ssc.affinity import irn_losses as shifted_losses
from ssc.affinity import random_walk as walk
from ssc.cams import upsample
from ssc.constants import STRIDE
from ssc.losses import alignment_loss as asm_loss
from ssc.superpixels import superpixels

FACTORS = (1, 2, 4)


def superpixel_kernel(height: int, width: int) -> Callable[[], Any]:
    """Superpixels of a drawn photo."""
    image = drawn_photo(height, width)
    return lambda: superpixels(image)


def crf_kernel(height: int, width: int) -> Callable[[], Any]:
    """Both IRN passes of the dense CRF on a drawn photo."""
    image = drawn_photo(height, width)
    cams = upsample(blobs(-(-height // STRIDE), -(-width // STRIDE), dense_crf.CLASSES), (height, width))
    maps = dense_crf.seed_maps(cams)
    return lambda: dense_crf.one_lattice(image, maps)


def walk_kernel(height: int, width: int) -> Callable[[], Any]:
    """Random walk at stride 4."""
    cams, edges = random_walk.inputs(-(-height // STRIDE), -(-width // STRIDE))
    return lambda: walk(cams, edges)


def alignment_kernel(height: int, width: int) -> Callable[[], Any]:
    """Alignment loss of two square windows, forward and backward."""
    features, regions, labels = alignment_loss.inputs(2, side(height, width, 64))
    return lambda: alignment_loss.value_and_gradient(asm_loss, features, regions, labels)


def irn_kernel(height: int, width: int) -> Callable[[], Any]:
    """IRN losses of a square window at stride 4, forward and backward."""
    edges, displacement, labels = irn_losses.inputs(1, side(height, width, STRIDE) // STRIDE)
    leaves = [edges.requires_grad_(), displacement.requires_grad_()]
    return lambda: torch.autograd.grad(shifted_losses(*leaves, labels)["total"], leaves)


def metrics_kernel(height: int, width: int) -> Callable[[], Any]:
    """Confusion matrices of ten label maps."""
    pairs = miou.label_maps(10, (height, width))
    return lambda: miou.count(pairs)


KERNELS: dict[str, Callable[[int, int], Callable[[], Any]]] = {
    "superpixels": superpixel_kernel,
    "dense CRF": crf_kernel,
    "random walk": walk_kernel,
    "alignment loss": alignment_kernel,
    "IRN losses": irn_kernel,
    "metrics": metrics_kernel,
}


def side(height: int, width: int, multiple: int) -> int:
    """Side of the square of as many pixels, rounded to a multiple."""
    return multiple * max(1, round((height * width) ** 0.5 / multiple))


def cost(kernel: str, size: tuple[int, int], rounds: int) -> tuple[float, int]:
    """Median seconds of a kernel at a size, and the bytes that its first run takes beyond what is there."""
    KERNELS[kernel](96, 128)()  # compiles, loads libraries, starts threads
    step = KERNELS[kernel](*size)
    peak, before = peak_memory(step)
    seconds, _ = interleaved({"kernel": step}, rounds=rounds)
    return seconds["kernel"], peak - before


def measure(*, quick: bool) -> Row:
    """Exponents of time and memory over the number of pixels, by kernel."""
    base = (94, 125) if quick else VOC_PHOTO
    sizes = [tuple(round(length * factor**0.5) for length in base) for factor in FACTORS]
    pixels = [height * width for height, width in sizes]
    figures = []
    for kernel in KERNELS:
        costs = [in_fresh_process(cost, kernel, size, 1 if quick else 5) for size in sizes]
        figures += scaling_figures(kernel, pixels, costs)
    return Row("scaling_pixels", f"kernels at 1x, 2x, 4x of {base[1]} x {base[0]} pixels", figures)


if __name__ == "__main__":
    run(measure)
