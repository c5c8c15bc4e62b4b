"""Random walk of `ssc.affinity` against the dense transition matrix, squared `exp_times` times.

    python -m benchmarks.random_walk --height 64 --width 84

The dense matrix has (height * width)^2 float32 entries and its squarings cost (height * width)^3 each.
"""

import argparse
import time

import torch

from ssc.affinity import pair_offsets, path_points, random_walk


def dense_random_walk(cams, edges, *, radius=5, beta=10.0, exp_times=8):
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


def timed(walk, cams, edges):
    """Result and wall seconds."""
    begin = time.perf_counter()
    result = walk(cams, edges)
    return result, time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=32)
    parser.add_argument("--width", type=int, default=42)
    parser.add_argument("--classes", type=int, default=2)
    args = parser.parse_args()

    generator = torch.Generator().manual_seed(0)
    cams = torch.rand(args.classes, args.height, args.width, generator=generator)
    edges = torch.rand(args.height, args.width, generator=generator) ** 3
    walked, ours = min((timed(random_walk, cams, edges) for _ in range(5)), key=lambda run: run[1])
    expected, dense = timed(dense_random_walk, cams, edges)
    difference = (walked - expected).abs().max().item()
    print(f"grid            {args.height} x {args.width}, {args.classes} classes")
    print(f"dense           {dense:.3f} s")
    print(f"ours            {ours:.3f} s, best of 5")
    print(f"ratio           {dense / ours:.0f}")
    print(f"max difference  {difference:.1e}")


if __name__ == "__main__":
    main()
