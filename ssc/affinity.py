"""Pairwise affinities of IRN: its training losses, and the random walk that spreads the CAMs.

The affinity of two pixels is one minus the strongest class boundary on the path between them (Ahn, Cho and Kwak,
"Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019: "the IRN paper").
A pair is a source pixel i and its target j = i + (dy, dx); half of the directions suffice, because an affinity
is symmetric. Sources are the pixels whose whole half-disc of targets lies inside the map. They form a rectangle,
so each quantity of pairs is arithmetic on shifted windows of the map, and no table of pixel indices exists.
"""

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ssc.constants import EPSILON, IGNORE


def pair_offsets(radius: int) -> list[tuple[int, int]]:
    """Offsets (dy, dx) from a source to its targets, in raster order: 34 at radius 5, 152 at radius 10.

    They are the half of the disc dy^2 + dx^2 < radius^2 that follows its centre.
    """
    return [
        (dy, dx)
        for dy in range(radius)
        for dx in range(1 - radius, radius)
        if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius
    ]


def path_points(dy: int, dx: int) -> list[tuple[int, int]]:
    """Path (y, x) of an offset with dy >= 0: the grid points nearer than 1 to the segment (0, 0)-(dy, dx).

    Both ends belong to it. Points outside the bounding box of the segment do not.
    """
    return [
        (y, x)
        for y in range(dy + 1)
        for x in range(min(0, dx), max(0, dx) + 1)
        if (dy * x - dx * y) ** 2 < dy * dy + dx * dx
    ]


def _window(shape: tuple[int, ...], radius: int, dy: int = 0, dx: int = 0) -> tuple:
    """Index of the rectangle of sources in a map (..., h, w), shifted by (dy, dx)."""
    margin = radius - 1
    h, w = shape[-2:]
    return ..., slice(dy, h - margin + dy), slice(margin + dx, w - margin + dx)


class _PathMaximum(torch.autograd.Function):
    """Running maximum over the path, with its gradient sent to the first point that attains it.

    Autograd alone would keep a tensor for every path point of every pair; here one per pair is kept.
    """

    @staticmethod
    def forward(ctx, edges, offset, radius):
        windows = [_window(edges.shape, radius, y, x) for y, x in path_points(*offset)]
        maximum = edges[windows[0]]
        for window in windows[1:]:
            maximum = torch.maximum(maximum, edges[window])
        ctx.windows = windows
        ctx.save_for_backward(edges, maximum)
        return maximum

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        edges, maximum = ctx.saved_tensors
        result = torch.zeros_like(edges)
        remaining = gradient.clone()
        share = torch.empty_like(remaining)
        for window in ctx.windows:
            torch.eq(edges[window], maximum, out=share).mul_(remaining)
            result[window].add_(share)
            remaining.sub_(share)  # a later point of equal height gets nothing
        return result, None, None


def path_maximum(edges: Tensor, offset: tuple[int, int], radius: int) -> Tensor:
    """Strongest edge on the path from every source to its target at one offset.

    Args:
        edges: (..., h, w) with h >= radius and w >= 2 radius - 1.
        offset: one of `pair_offsets(radius)`.
        radius: in pixels of the map.

    Returns:
        (..., h - radius + 1, w - 2 radius + 2). Differentiable: the gradient of a pair goes to the first maximum
        on its path, one of the valid subgradients.
    """
    return _PathMaximum.apply(edges, offset, radius)


def pair_masks(labels: Tensor, offset: tuple[int, int], radius: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which pairs of one offset are equal, and of the labelled ones which are background, foreground and unequal.

    Args:
        labels: integer (B, h, w); 0 is background, 255 takes no part.
        offset: (dy, dx), one of `pair_offsets(radius)`.
        radius: decides on the sources.

    Returns:
        Four masks over the sources, bool (B, h - radius + 1, w - 2 radius + 2).
    """
    size = labels.shape[-2:]
    first, second = labels[_window(size, radius)], labels[_window(size, radius, *offset)]
    labelled = (first != IGNORE) & (second != IGNORE)
    equal = first == second
    return equal, labelled & equal & (first == 0), labelled & equal & (first != 0), labelled & ~equal


def count_pairs(labels: Tensor, radius: int = 10) -> Tensor:
    """Numbers of equal background, equal foreground and unequal pairs, int64 (3,), that `irn_losses` divides by."""
    counts = [
        torch.stack([mask.sum() for mask in pair_masks(labels, offset, radius)[1:]]) for offset in pair_offsets(radius)
    ]
    return torch.stack(counts).sum(dim=0)


def irn_losses(
    edge_logits: Tensor, displacement: Tensor | None, labels: Tensor, radius: int = 10, *, total: Tensor | None = None
) -> dict[str, Tensor]:
    """Training losses of IRN over all pairs of labelled pixels closer than `radius` (IRN paper, section 4).

    Args:
        edge_logits: (B, 1, h, w), class boundaries before the sigmoid.
        displacement: (B, 2, h, w), channel 0 is y, in pixels of this map; None where none is learned.
        labels: integer (B, h, w); 0 is background, 255 takes no part.
        radius: in pixels of this map; a source needs h >= radius and w >= 2 radius - 1.
        total: numbers of pairs that the means are over, see `count_pairs`: of the whole batch, of which this may be a
            part; None counts those of `labels`.

    Returns:
        Scalars in float32 or better, each a mean as sum / (count + 1e-5), hence 0 without pairs. With a the affinity
        and d the displacement:
        `pos`: -log(a + 1e-5), the mean over equal background pairs and that over equal foreground pairs, halved;
        `neg`: -log(1 + 1e-5 - a) over unequal pairs;
        `dp_fg`: |d_i - d_j - (j - i)| over equal foreground pairs and both channels;
        `dp_bg`: |d_i - d_j| over equal background pairs and both channels;
        `total`: (pos + neg) / 2 + (dp_fg + dp_bg) / 2.
        Without displacements neither `dp_fg` nor `dp_bg` is there or counts.

    Raises:
        ValueError: shapes that do not belong together, labels that are not integers, radius < 2 or a map without
            a source.
    """
    *batch, h, w = labels.shape
    learned = [edge_logits] if displacement is None else [edge_logits, displacement]
    shapes = [tuple(each.shape) for each in learned]
    if shapes != [(*batch, 1, h, w), (*batch, 2, h, w)][: len(shapes)] or len(batch) != 1:
        raise ValueError(
            "edge_logits, displacement and labels must be (B, 1, h, w), (B, 2, h, w) and (B, h, w), "
            f"not {', '.join(map(str, shapes))} and {tuple(labels.shape)}"
        )
    if labels.is_floating_point():
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if radius < 2:
        raise ValueError(f"radius must be >= 2 for a pair to exist, not {radius}")
    if h < radius or w < 2 * radius - 1:
        raise ValueError(
            f"a map of {h}x{w} has no pixel whose whole half-disc of radius {radius} lies inside it: "
            f"it needs {radius} rows and {2 * radius - 1} columns"
        )
    dtype = torch.promote_types(edge_logits.dtype, torch.float32)
    edges = edge_logits[:, 0].to(dtype).sigmoid()
    displacement = None if displacement is None else displacement.to(dtype)
    source = _window((h, w), radius)

    sums, counts = [], []
    for offset in pair_offsets(radius):
        equal, background, foreground, unequal = pair_masks(labels, offset, radius)
        edge = path_maximum(edges, offset, radius)
        cost = -torch.where(equal, 1 - edge + EPSILON, edge + EPSILON).log()
        terms = [cost * background, cost * foreground, cost * unequal]
        if displacement is not None:
            # Two pixels of one object point to one centre, so their displacements differ by j - i.
            towards = displacement.new_tensor(offset).view(2, 1, 1) * foreground[:, None]
            target = _window((h, w), radius, *offset)
            shift = (displacement[source] - displacement[target] - towards).abs().sum(dim=1)
            terms += [shift * foreground, shift * background]
        sums.append(torch.stack([term.sum() for term in terms]))
        if total is None:
            counts.append(torch.stack([mask.sum() for mask in (background, foreground, unequal)]))

    bg_cost, fg_cost, unequal_cost, *shifts = torch.stack(sums).sum(dim=0)
    total = torch.stack(counts).sum(dim=0) if total is None else total
    bg_count, fg_count, unequal_count = total.to(dtype)
    pos = (bg_cost / (bg_count + EPSILON) + fg_cost / (fg_count + EPSILON)) / 2
    neg = unequal_cost / (unequal_count + EPSILON)
    losses, loss = {"pos": pos, "neg": neg}, (pos + neg) / 2
    if displacement is not None:
        fg_shift, bg_shift = shifts
        losses["dp_fg"] = fg_shift / (2 * fg_count + EPSILON)
        losses["dp_bg"] = bg_shift / (2 * bg_count + EPSILON)
        loss = loss + (losses["dp_fg"] + losses["dp_bg"]) / 2
    return losses | {"total": loss}


def transition_matrix(edges: Tensor, *, radius: int = 5, beta: float = 10.0) -> Tensor:
    """Transposed transition matrix of the random walk, sparse (IRN paper, section 5).

    The affinities, raised to `beta` and with 1 on the diagonal, form a symmetric matrix W over the n = h w pixels
    in raster order; the transition is T = W / (column sums of W). Pairs that would leave the map do not exist.

    Args:
        edges: floating point (h, w), boundary probabilities in 0..1.
        radius: pairs are closer than this, in pixels of the map.
        beta: sharpness of the affinities, > 0.

    Returns:
        The transpose of T, (n, n) in compressed sparse rows, so that it acts on columns of scores: row j holds
        the weights with which the pixels around j make the next score of j. Every row sums to 1.
    """
    h, w = edges.shape
    margin = radius - 1
    border = (margin, margin, margin, margin)
    half = pair_offsets(radius)

    def shifted(padded: Tensor, dy: int, dx: int) -> Tensor:
        return padded[margin + dy : margin + dy + h, margin + dx : margin + dx + w]

    # Edges of 1 around the map make every pixel a source, and the affinity to a target outside exactly 0.
    walled = F.pad(edges, (margin, margin, 0, margin), value=1.0)
    ahead = [(1 - path_maximum(walled, offset, radius)) ** beta for offset in half]
    behind = [shifted(F.pad(a, border), -dy, -dx) for a, (dy, dx) in zip(ahead, half, strict=True)]
    weights = torch.stack([*reversed(behind), torch.ones_like(edges), *ahead], dim=-1)
    weights = weights / weights.sum(dim=-1, keepdim=True)

    # Offsets in raster order, so the columns of each row ascend.
    disc = [(-dy, -dx) for dy, dx in reversed(half)] + [(0, 0)] + half
    pixel = F.pad(torch.arange(h * w, dtype=torch.int32, device=edges.device).view(h, w), border, value=-1)
    neighbour = torch.stack([shifted(pixel, dy, dx) for dy, dx in disc], dim=-1)
    exists = neighbour >= 0
    row_ends = exists.sum(dim=-1).flatten().cumsum(dim=0, dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            F.pad(row_ends, (1, 0)),
            neighbour[exists],
            weights[exists],
            (h * w, h * w),
            check_invariants=False,
        )


def chebyshev_coefficients(power: int, tolerance: float = 1e-8) -> list[float]:
    """Coefficients c_k such that the sum of c_k T_k(x) is x^power on [-1, 1], up to about `tolerance`.

    c_k is the chance that `power` fair steps of +-1 end at k or -k. By Hoeffding's inequality the degrees above
    sqrt(2 power log(2 / tolerance)) have less than `tolerance` of it: power 256 needs degree 98. The result is
    scaled to the sum 1, so that a constant stays one.
    """
    degree = min(power, math.ceil(math.sqrt(2 * power * math.log(2 / tolerance))))
    degree -= (power - degree) % 2  # only degrees of the parity of `power` occur
    coefficients = [0.0] * (degree + 1)
    chance = 1.0
    for k in range(power % 2, degree + 1, 2):
        coefficients[k] = chance if k == 0 else 2 * chance
        chance *= (power - k) / (power + k + 2)
    total = math.fsum(coefficients)
    return [c / total for c in coefficients]


@torch.no_grad()
def random_walk(cams: Tensor, edges: Tensor, radius: int = 5, beta: float = 10.0, exp_times: int = 8) -> Tensor:
    """Spread class scores along affinities: (cams * (1 - edges)) T^(2^exp_times) (IRN paper, section 5).

    T is similar to a symmetric matrix with its spectrum in [-1, 1], so a short Chebyshev expansion equals its power:
    98 sparse steps do the work of 256, and no dense matrix of h w x h w exists. Memory is O(h w (radius^2 + K)).
    The arithmetic is float64; gradients do not flow.

    Args:
        cams: (K, h, w), one map per class.
        edges: (h, w), boundary probabilities in 0..1, after the sigmoid.
        radius: pairs are closer than this, in pixels of the map.
        beta: sharpness of the affinities.
        exp_times: the transition is applied 2^exp_times times.

    Returns:
        (K, h, w), the propagated scores before the division by their maximum, in float32 or better.

    Raises:
        ValueError: shapes that do not belong together, edges outside 0..1, radius < 1, beta <= 0 or exp_times < 0.
    """
    if cams.dim() != 3 or edges.shape != cams.shape[1:]:
        raise ValueError(
            f"cams and edges must be (K, h, w) and (h, w), not {tuple(cams.shape)} and {tuple(edges.shape)}"
        )
    if not ((edges >= 0) & (edges <= 1)).all():
        raise ValueError("edges must be probabilities in 0..1: apply the sigmoid to the edge logits first")
    if radius < 1 or beta <= 0 or exp_times < 0:
        raise ValueError(
            f"radius >= 1, beta > 0 and exp_times >= 0 are needed, not {radius}, {beta} and {exp_times} in this order"
        )
    edges = edges.double()
    transition = transition_matrix(edges, radius=radius, beta=beta)
    coefficients = chebyshev_coefficients(2**exp_times)
    # Scores are columns, one per class. Chebyshev terms: t_0 = scores, t_1 = P t_0, t_k = 2 P t_{k-1} - t_{k-2}.
    previous = (cams.double() * (1 - edges)).flatten(1).T.contiguous()
    current = transition @ previous
    result = coefficients[0] * previous + coefficients[1] * current
    for coefficient in coefficients[2:]:
        previous, current = current, torch.addmm(previous, transition, current, beta=-1, alpha=2)
        result.add_(current, alpha=coefficient)
    return result.T.reshape(cams.shape).to(torch.promote_types(cams.dtype, torch.float32))
