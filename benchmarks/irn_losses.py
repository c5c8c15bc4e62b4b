"""IRN's training losses by shifted maxima against index tables of pairs x path x pixels, forward and backward.

    python -m benchmarks.irn_losses

The tables are those of the IRN paper's code: for each group of pairs whose paths are equally long, the pixels on the
path of every pair. They are made once, before the timing.
"""

from collections import defaultdict

import torch
from torch import Tensor

from benchmarks.harness import Figure, Row, interleaved, run
from benchmarks.scenes import cells
from ssc.affinity import irn_losses, pair_offsets, path_points
from ssc.constants import EPSILON, IGNORE
from ssc.models.size import saved_bytes

RADIUS = 10


def path_tables(height: int, width: int, radius: int) -> list[tuple[Tensor, Tensor]]:
    """Groups of offsets (P, 2) of pairs with equally long paths, and the pixels on them (P, path, sources), first the
    target and last the source."""
    rows = torch.arange(height - radius + 1)[:, None]
    columns = torch.arange(radius - 1, width - radius + 1)
    groups = defaultdict(list)
    for offset in pair_offsets(radius):
        points = sorted(path_points(*offset), key=lambda point: -(point[0] ** 2 + point[1] ** 2))
        path = torch.stack([((rows + y) * width + columns + x).flatten() for y, x in points])
        groups[len(points)].append((torch.tensor(offset), path))
    return [tuple(torch.stack(part) for part in zip(*group, strict=True)) for group in groups.values()]


def indexed_losses(
    edge_logits: Tensor, displacement: Tensor, labels: Tensor, tables: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """`ssc.affinity.irn_losses`, every pair and every point of its path gathered by index."""
    edges, vectors, classes = edge_logits.sigmoid().flatten(1), displacement.flatten(2), labels.flatten(1)
    affinity, shift, towards, first, second = [], [], [], [], []
    for offsets, paths in tables:
        target, source = paths[:, 0], paths[:, -1]
        affinity.append(1 - edges[:, paths].amax(dim=2))
        shift.append(vectors[:, :, source] - vectors[:, :, target])
        towards.append(offsets.T[:, :, None].expand(-1, -1, paths.shape[-1]))
        first.append(classes[:, source])
        second.append(classes[:, target])
    affinity, first, second = (torch.cat(parts, dim=1) for parts in (affinity, first, second))
    shift, towards = torch.cat(shift, dim=2), torch.cat(towards, dim=1)
    labelled = (first != IGNORE) & (second != IGNORE)
    background = (labelled & (first == second) & (first == 0)).float()
    foreground = (labelled & (first == second) & (first != 0)).float()
    unequal = (labelled & (first != second)).float()

    def mean(values: Tensor, where: Tensor) -> Tensor:
        where = where.expand_as(values)
        return (values * where).sum() / (where.sum() + EPSILON)

    equal_cost, unequal_cost = -torch.log(affinity + EPSILON), -torch.log(1 + EPSILON - affinity)
    pos = (mean(equal_cost, background) + mean(equal_cost, foreground)) / 2
    neg = mean(unequal_cost, unequal)
    dp_fg = mean((shift - towards).abs(), foreground[:, None])
    dp_bg = mean(shift.abs(), background[:, None])
    return {"pos": pos, "neg": neg, "dp_fg": dp_fg, "dp_bg": dp_bg, "total": (pos + neg) / 2 + (dp_fg + dp_bg) / 2}


def inputs(batch: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Edge logits (B, 1, side, side), displacement (B, 2, side, side), labels (B, side, side) with background, two
    classes and undecided pixels."""
    generator = torch.Generator().manual_seed(0)
    edges, displacement = (torch.randn(batch, channels, side, side, generator=generator) for channels in (1, 2))
    names = torch.tensor([0, 0, 5, 12, IGNORE])
    labels = torch.stack([names[torch.from_numpy(cells(side, side, 15, seed=seed)) % 5] for seed in range(batch)])
    return edges - 2, displacement, labels


def measure(*, quick: bool) -> Row:
    """IRN losses: shifted maxima against index tables."""
    batch, side = (1, 32) if quick else (2, 128)
    edges, displacement, labels = inputs(batch, side)
    tables = path_tables(side, side, RADIUS)
    leaves = [edges.requires_grad_(), displacement.requires_grad_()]
    losses = {
        "index tables": lambda: indexed_losses(*leaves, labels, tables),
        "ours": lambda: irn_losses(*leaves, labels, RADIUS),
    }

    def backward(name: str) -> list[Tensor]:
        total = losses[name]()["total"]
        return [total.detach(), *torch.autograd.grad(total, leaves)]

    seconds, results = interleaved({name: lambda name=name: backward(name) for name in losses}, rounds=3)
    apart = [(a - b).abs().max() / a.abs().max() for a, b in zip(*results.values(), strict=True)]
    megabytes = {name: saved_bytes(step, leave_out=leaves)[0] / 1e6 for name, step in losses.items()}
    size = sum(paths.nbytes for _, paths in tables) / 1e6
    return Row(
        "irn_losses",
        f"forward and backward, radius {RADIUS}, batch {batch}, maps of {side} x {side}: index tables, ours",
        [
            Figure("times faster", seconds["index tables"] / seconds["ours"], parts=seconds, parts_unit="s"),
            Figure(
                "times fewer bytes saved for backward", megabytes["index tables"] / megabytes["ours"],
                parts={**megabytes, "the tables themselves": size}, parts_unit="MB",
            ),
            Figure("difference of the losses, relative", apart[0].item()),
            Figure("largest difference of the gradients, over their largest value", max(apart[1:]).item()),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    run(measure)
