"""Random walk of `ssc.affinity` against the dense transition matrix, squared `exp_times` times.

    python -m benchmarks.random_walk

The dense matrix has (height * width)^2 float32 entries and its squarings cost (height * width)^3 each, so that the
reference takes its turn once.
"""

import torch

from benchmarks.harness import Figure, Row, interleaved, run
from benchmarks.scenes import VOC_GRID, blobs, cells, ridges
from ssc.affinity import pair_offsets, path_points, random_walk

CLASSES = 2


def dense_random_walk(
    cams: torch.Tensor, edges: torch.Tensor, *, radius: int = 5, beta: float = 10.0, exp_times: int = 8
) -> torch.Tensor:
    """The textbook formulation: (K, h, w) scores times the n x n transition matrix to the power 2^exp_times."""
    h, w = edges.shape
    affinity = torch.eye(h * w, dtype=edges.dtype)
    pixel = torch.arange(h * w).view(h, w)
    for dy, dx in pair_offsets(radius):
        if dy >= h or abs(dx) >= w:
            continue
        rows = torch.arange(h - dy)[:, None]
        columns = torch.arange(max(0, -dx), w - max(0, dx))
        path = torch.stack([edges[rows + y, columns + x] for y, x in path_points(dy, dx)])
        value = (1 - path.amax(dim=0)) ** beta
        i, j = pixel[rows, columns], pixel[rows + dy, columns + dx]
        affinity[i, j] = value
        affinity[j, i] = value
    transition = affinity / affinity.sum(dim=0)
    for _ in range(exp_times):
        transition = transition @ transition
    return ((cams * (1 - edges)).flatten(1) @ transition).view_as(cams)


def inputs(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """CAMs (K, h, w) and edges (h, w)."""
    return blobs(height, width, CLASSES), ridges(cells(height, width, 12))


def measure(*, quick: bool) -> Row:
    """Random walk: sparse Chebyshev expansion against the dense matrix squared eight times."""
    height, width = (32, 42) if quick else (64, 84)
    cams, edges = inputs(height, width)
    on_voc = inputs(*VOC_GRID)
    random_walk(cams, edges)
    functions = {
        "dense": lambda: dense_random_walk(cams, edges),
        "ours": lambda: random_walk(cams, edges),
        "ours, VOC": lambda: random_walk(*on_voc),
    }
    seconds, results = interleaved(functions, rounds=1, calls={"ours": 7, "ours, VOC": 5})
    difference = (results["dense"] - results["ours"]).abs().max().item()
    return Row(
        "random_walk",
        f"grid {height} x {width}, {CLASSES} classes, 256 steps: dense matrix squared 8 times, ours",
        [
            Figure(
                "times faster", seconds["dense"] / seconds["ours"], at_least=300, parts_unit="s",
                parts={name: seconds[name] for name in ("dense", "ours")},
            ),
            Figure("largest difference", difference, at_most=2e-4),
            Figure(f"ours, VOC grid {VOC_GRID[0]} x {VOC_GRID[1]}", seconds["ours, VOC"], "s", at_most=1),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    run(measure)
