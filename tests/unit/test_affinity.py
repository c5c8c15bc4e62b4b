"""Affinities against formulations that visit every pair and every path point one by one."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.random_walk import dense_random_walk
from ssc.affinity import (
    chebyshev_coefficients,
    count_pairs,
    irn_losses,
    pair_offsets,
    path_maximum,
    path_points,
    random_walk,
    transition_matrix,
)

# Number of offsets for each path length at radius 10, as the published IRN checkpoints store them.
PATH_LENGTHS = {
    2: 2, 3: 2, 4: 4, 5: 2, 6: 6, 7: 4, 8: 10, 9: 2, 10: 12, 11: 4,
    12: 12, 13: 2, 14: 8, 15: 8, 16: 22, 18: 16, 19: 6, 20: 20, 21: 4, 22: 6,
}  # fmt: skip


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def patchy_labels(batch, h, w, seed=0):
    """Blocks of 3 x 3 with labels 0..2, and scattered 255."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 3, (batch, (h + 2) // 3, (w + 2) // 3), generator=generator)
    labels = blocks.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :h, :w].clone()
    labels[torch.rand(labels.shape, generator=generator) < 0.15] = 255
    return labels


def distance_to_segment(point, end):
    """Euclidean distance from a point to the segment (0, 0)-end."""
    point, end = np.array(point, float), np.array(end, float)
    along = np.clip(point @ end / (end @ end), 0, 1)
    return np.linalg.norm(point - along * end)


def slow_edge(edges, i, j):
    """Strongest edge between two pixels: every point of their bounding box is tried."""
    (iy, ix), (jy, jx) = i, j
    values = []
    for y in range(min(iy, jy), max(iy, jy) + 1):
        for x in range(min(ix, jx), max(ix, jx) + 1):
            cross = abs((jy - iy) * (x - ix) - (jx - ix) * (y - iy))
            if cross / math.hypot(jy - iy, jx - ix) < 1 - 1e-9:
                values.append(edges[y, x])
    return torch.stack(values).max()


def slow_losses(edge_logits, displacement, labels, radius):
    """The five losses, pair by pair, over every source whose whole half-disc exists."""
    terms = {name: [] for name in ("bg", "fg", "neg", "dp_fg", "dp_bg")}
    edges = edge_logits.sigmoid()[:, 0]
    _, h, w = labels.shape
    half_disc = [
        (dy, dx)
        for dy in range(radius)
        for dx in range(-radius, radius + 1)
        if (dy > 0 or dx > 0) and math.hypot(dy, dx) < radius
    ]
    for b in range(len(labels)):
        for y in range(h):
            for x in range(w):
                targets = [(y + dy, x + dx) for dy, dx in half_disc]
                if not all(0 <= ty < h and 0 <= tx < w for ty, tx in targets):
                    continue
                for ty, tx in targets:
                    first, second = labels[b, y, x].item(), labels[b, ty, tx].item()
                    if 255 in (first, second):
                        continue
                    affinity = 1 - slow_edge(edges[b], (y, x), (ty, tx))
                    if first != second:
                        terms["neg"].append(-torch.log(1 + 1e-5 - affinity))
                        continue
                    kind = "fg" if first > 0 else "bg"
                    terms[kind].append(-torch.log(affinity + 1e-5))
                    for channel, step in enumerate((ty - y, tx - x)):
                        shift = displacement[b, channel, y, x] - displacement[b, channel, ty, tx]
                        terms[f"dp_{kind}"].append((shift - (step if kind == "fg" else 0)).abs())
    mean = {k: (torch.stack(v).sum() if v else torch.tensor(0.0)) / (len(v) + 1e-5) for k, v in terms.items()}
    losses = {"pos": (mean["bg"] + mean["fg"]) / 2} | {k: mean[k] for k in ("neg", "dp_fg", "dp_bg")}
    losses["total"] = (losses["pos"] + losses["neg"]) / 2 + (losses["dp_fg"] + losses["dp_bg"]) / 2
    return losses


def slow_transition(edges, radius, beta):
    """Dense transition matrix (source, target), from all pairs of pixels of the map."""
    h, w = edges.shape
    pixels = [(y, x) for y in range(h) for x in range(w)]
    affinity = torch.eye(h * w, dtype=torch.float64)
    for a, i in enumerate(pixels):
        for b, j in enumerate(pixels[:a]):
            if math.dist(i, j) < radius:
                affinity[a, b] = affinity[b, a] = (1 - slow_edge(edges, i, j)) ** beta
    return affinity / affinity.sum(dim=0)


def test_geometry_is_the_published_one():
    assert len(pair_offsets(5)) == 34
    assert len(pair_offsets(10)) == 152
    assert Counter(len(path_points(*offset)) for offset in pair_offsets(10)) == PATH_LENGTHS
    assert path_maximum(torch.zeros(128, 128), (1, 0), 10).numel() == 13090


@given(st.integers(1, 12))
def test_offsets_are_half_of_the_disc(radius):
    half = set(pair_offsets(radius))
    other = {(-dy, -dx) for dy, dx in half}
    disc = {
        (dy, dx)
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
        if 0 < math.hypot(dy, dx) < radius
    }
    assert not half & other
    assert half | other == disc
    assert list(pair_offsets(radius)) == sorted(half)


@given(st.sampled_from(pair_offsets(10)))
def test_path_is_the_tube_around_the_segment(offset):
    dy, dx = offset
    box = {(y, x) for y in range(dy + 1) for x in range(min(0, dx), max(0, dx) + 1)}
    path = path_points(dy, dx)
    assert {(0, 0), offset} <= set(path) <= box
    for point in box:
        # Inside the box the nearest point of the line lies on the segment, or the point is at an end.
        assert (point in path) == (distance_to_segment(point, offset) < 1 - 1e-9)
    assert {(dy - y, dx - x) for y, x in path} == set(path)


@pytest.mark.parametrize(("radius", "h", "w"), [(3, 6, 9), (4, 5, 7), (5, 8, 11)])
def test_losses_and_gradients_match_pair_by_pair(radius, h, w):
    logits = (rand(2, 1, h, w) * 6 - 3).requires_grad_()
    displacement = (rand(2, 2, h, w, seed=1) * 8 - 4).requires_grad_()
    labels = patchy_labels(2, h, w)
    fast = irn_losses(logits, displacement, labels, radius=radius)
    slow = slow_losses(logits, displacement, labels, radius)
    assert fast.keys() == slow.keys()
    for name, value in slow.items():
        assert value > 0
        torch.testing.assert_close(fast[name], value, rtol=1e-12, atol=0)
        for ours, theirs in zip(
            torch.autograd.grad(fast[name], (logits, displacement), retain_graph=True, allow_unused=True),
            torch.autograd.grad(value, (logits, displacement), retain_graph=True, allow_unused=True),
            strict=True,
        ):
            assert (theirs is None) or theirs.abs().sum() > 0
            if theirs is not None:
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)
            else:
                assert ours is None or not ours.any()


def test_path_maximum_passes_gradcheck():
    edges = rand(2, 6, 8).requires_grad_()
    for offset in pair_offsets(4):
        assert torch.autograd.gradcheck(lambda e, o=offset: path_maximum(e, o, 4), (edges,))


def test_equal_maxima_give_each_pair_one_gradient():
    edges = torch.full((2, 6, 8), 0.5, requires_grad=True)
    for offset in pair_offsets(4):
        maximum = path_maximum(edges, offset, 4)
        (gradient,) = torch.autograd.grad(maximum.sum(), edges)
        y, x = path_points(*offset)[0]
        expected = torch.zeros_like(gradient)
        expected[:, y : y + 3, 3 + x : 5 + x] = 1
        assert maximum.shape == (2, 3, 2)
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_compute_in_float32(dtype):
    logits, displacement = rand(1, 1, 12, 16).to(dtype), rand(1, 2, 12, 16, seed=1).to(dtype)
    labels = patchy_labels(1, 12, 16)
    low = irn_losses(logits, displacement, labels, radius=5)
    full = irn_losses(logits.float(), displacement.float(), labels, radius=5)
    for name in full:
        assert low[name].dtype == torch.float32
        assert torch.equal(low[name], full[name])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(0, 4), st.integers(0, 5))
def test_loss_invariants(seed, extra_h, extra_w):
    radius, h, w = 3, 3 + extra_h, 5 + extra_w
    logits, displacement = rand(2, 1, h, w, seed=seed), rand(2, 2, h, w, seed=seed + 1)
    labels = patchy_labels(2, h, w, seed)
    losses = irn_losses(logits, displacement, labels, radius=radius)
    assert all(v.shape == () and v >= 0 for v in losses.values())
    # Which foreground class it is does not matter, nor a displacement common to the whole map.
    renamed = torch.where((labels == 1) | (labels == 2), 3 - labels, labels)
    moved = irn_losses(logits, displacement + 7, renamed, radius=radius)
    for name in losses:
        torch.testing.assert_close(moved[name], losses[name], rtol=1e-9, atol=1e-12)


def test_displacements_to_a_common_centre_cost_nothing():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    to_centre = torch.stack([4 - y, 3 - x])[None]
    logits = torch.zeros(1, 1, 8, 9)
    assert irn_losses(logits, to_centre, torch.ones(1, 8, 9).long(), radius=4)["dp_fg"] == 0
    assert irn_losses(logits, to_centre, torch.zeros(1, 8, 9).long(), radius=4)["dp_bg"] > 0.5
    # Channel 0 is y: swapped channels are wrong.
    assert irn_losses(logits, to_centre.flip(1), torch.ones(1, 8, 9).long(), radius=4)["dp_fg"] > 0.5


def test_losses_without_displacements():
    logits, labels = rand(2, 1, 7, 9).requires_grad_(), patchy_labels(2, 7, 9)
    both = irn_losses(logits, rand(2, 2, 7, 9, seed=1), labels, radius=4)
    alone = irn_losses(logits, None, labels, radius=4)
    assert list(alone) == ["pos", "neg", "total"] and alone["total"] == (both["pos"] + both["neg"]) / 2
    gradients = [torch.autograd.grad(losses["total"], logits)[0] for losses in (both, alone)]
    assert torch.equal(*gradients) and gradients[0].any()


def test_ignored_pixels_take_no_part():
    logits, displacement = rand(1, 1, 8, 9).requires_grad_(), rand(1, 2, 8, 9, seed=1).requires_grad_()
    losses = irn_losses(logits, displacement, torch.full((1, 8, 9), 255), radius=4)
    assert all(v == 0 for v in losses.values())
    losses["total"].backward()
    assert not logits.grad.any()
    assert not displacement.grad.any()


def test_pairs_are_counted():
    labels = patchy_labels(2, 7, 9)
    counted = torch.zeros(3, dtype=torch.int64)
    for b, y, x in np.ndindex(2, 4, 3):
        for dy, dx in pair_offsets(4):
            first, second = labels[b, y, x + 3].item(), labels[b, y + dy, x + 3 + dx].item()
            if 255 not in (first, second):
                counted[2 if first != second else int(first > 0)] += 1
    assert count_pairs(labels, 4).dtype == torch.int64
    assert torch.equal(count_pairs(labels, 4), counted) and counted.min() > 0


def test_shares_of_two_processes_add_up_to_the_whole_batch():
    """Their parts are of unequal size and count differently many pairs; the second holds no foreground."""
    logits, displacement = rand(3, 1, 6, 9).requires_grad_(), rand(3, 2, 6, 9, seed=1).requires_grad_()
    labels = patchy_labels(3, 6, 9)
    labels[2] = torch.where(labels[2] > 0, 255, 0)
    whole = irn_losses(logits, displacement, labels, radius=3)
    gradients = torch.autograd.grad(whole["total"], (logits, displacement))
    total = count_pairs(labels[:2], 3) + count_pairs(labels[2:], 3)
    assert torch.equal(total, count_pairs(labels, 3)) and count_pairs(labels[2:], 3)[1] == 0
    parts = [
        irn_losses(logits[part], displacement[part], labels[part], radius=3, total=total)
        for part in (slice(0, 2), slice(2, 3))
    ]
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value, rtol=1e-12, atol=0)
    assert 0 < parts[1]["pos"] < whole["pos"] and parts[1]["dp_fg"] == 0
    shared = torch.autograd.grad(parts[0]["total"] + parts[1]["total"], (logits, displacement))
    for own, expected in zip(shared, gradients, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("bad", ["channels", "labels", "float labels", "low", "narrow", "radius"])
def test_losses_refuse(bad):
    h, w = {"low": (4, 9), "narrow": (9, 8)}.get(bad, (9, 9))
    logits = torch.zeros(1, 2 if bad == "channels" else 1, h, w)
    labels = torch.zeros(1, h, w - (bad == "labels"), dtype=torch.float32 if "float" in bad else torch.int64)
    sentence = {"float labels": "integers", "low": "half-disc", "narrow": "half-disc", "radius": ">= 2"}
    with pytest.raises(ValueError, match=sentence.get(bad, "must be")):
        irn_losses(logits, torch.zeros(1, 2, h, w), labels, radius=1 if bad == "radius" else 5)


@pytest.mark.parametrize(
    ("h", "w", "radius", "beta"), [(6, 9, 5, 10.0), (9, 5, 3, 2.0), (2, 3, 5, 10.0), (1, 7, 4, 1.5), (4, 4, 1, 10.0)]
)
def test_transition_matches_all_pairs(h, w, radius, beta):
    edges = rand(h, w) ** 2
    transition = transition_matrix(edges, radius=radius, beta=beta)
    torch.testing.assert_close(transition.to_dense().T, slow_transition(edges, radius, beta), rtol=1e-12, atol=1e-14)
    # The benchmark's reference is a third formulation: it has to agree before it may judge.
    cams = rand(2, h, w, seed=1)
    expected = (cams * (1 - edges)).flatten(1) @ transition.to_dense().T.matrix_power(256)
    walked = dense_random_walk(cams, edges, radius=radius, beta=beta)
    torch.testing.assert_close(walked.flatten(1), expected, rtol=1e-9, atol=1e-12)


def test_transition_is_a_valid_sparse_matrix():
    torch.sparse.check_sparse_tensor_invariants.enable()
    try:
        matrix = transition_matrix(rand(7, 6))
        torch.sparse_csr_tensor(matrix.crow_indices(), matrix.col_indices(), matrix.values(), (42, 42))
    finally:
        torch.sparse.check_sparse_tensor_invariants.disable()
    assert matrix.values().numel() < 42 * 69
    torch.testing.assert_close(matrix.to_dense().sum(dim=1), torch.ones(42, dtype=torch.float64))


@pytest.mark.parametrize("exp_times", [0, 1, 3, 8, 10])
@pytest.mark.parametrize(("h", "w"), [(9, 14), (13, 4), (2, 3), (1, 1)])
def test_walk_matches_matrix_power(h, w, exp_times):
    edges, cams = rand(h, w) ** 3, rand(3, h, w, seed=1)
    transition = slow_transition(edges, 5, 10.0)
    expected = ((cams * (1 - edges)).flatten(1) @ transition.matrix_power(2**exp_times)).view_as(cams)
    torch.testing.assert_close(random_walk(cams, edges, exp_times=exp_times), expected, rtol=0, atol=1e-7)


def test_walk_in_float32_matches_the_dense_reference():
    edges, cams = (rand(20, 27) ** 3).float(), rand(2, 20, 27, seed=1).float()
    walked = random_walk(cams, edges)
    assert walked.dtype == torch.float32
    torch.testing.assert_close(walked, dense_random_walk(cams.double(), edges.double()).float(), rtol=0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(2, 6))
def test_walk_invariants(seed, h, w, classes, radius):
    edges, cams = rand(h, w, seed=seed), rand(classes, h, w, seed=seed + 1)
    walked = random_walk(cams, edges, radius=radius)
    assert walked.shape == cams.shape
    # Every step is a weighted mean of the neighbourhood ...
    start = cams * (1 - edges)
    low, high = start.flatten(1).min(1).values, start.flatten(1).max(1).values
    assert (walked.flatten(1) >= low[:, None] - 1e-6).all()
    assert (walked.flatten(1) <= high[:, None] + 1e-6).all()
    # ... which keeps the mass weighted by the column sums of the affinities; 1 / column sum is the diagonal.
    weight = 1 / transition_matrix(edges, radius=radius).to_dense().diagonal()
    torch.testing.assert_close((walked.flatten(1) @ weight), start.flatten(1) @ weight, rtol=1e-6, atol=1e-6)
    # Classes do not see each other, and mirrored input gives mirrored output.
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(random_walk(cams[order], edges, radius=radius), walked[order], rtol=0, atol=1e-12)
    mirrored = random_walk(cams.flip(-1), edges.flip(-1), radius=radius).flip(-1)
    torch.testing.assert_close(mirrored, walked, rtol=0, atol=1e-6)


def test_walk_without_edges_spreads_evenly():
    cams = torch.zeros(1, 4, 4, dtype=torch.float64)
    cams[0, 1, 2] = 1
    weight = (1 / transition_matrix(torch.zeros(4, 4).double()).to_dense().diagonal()).view(4, 4)
    limit = weight[1, 2] / weight.sum()
    walked = random_walk(cams, torch.zeros(4, 4))
    torch.testing.assert_close(walked, limit.expand(1, 4, 4), rtol=0, atol=1e-7)


def test_walk_does_not_cross_a_wall():
    edges = torch.full((6, 11), 0.1)
    edges[:, 5] = 1
    cams = torch.zeros(1, 6, 11)
    cams[0, :, :5] = 0.8
    walked = random_walk(cams, edges)
    assert walked[0, :, 6:].abs().max() < 1e-7
    torch.testing.assert_close(walked[0, :, :5], torch.full((6, 5), 0.8 * 0.9), rtol=0, atol=1e-6)
    assert walked[0, :, 5].abs().max() == 0


def test_walk_is_deterministic_and_leaves_its_input():
    edges, cams = rand(9, 8).float(), rand(2, 9, 8, seed=1).float()
    before = edges.clone(), cams.clone()
    assert torch.equal(random_walk(cams, edges), random_walk(cams, edges))
    assert torch.equal(edges, before[0])
    assert torch.equal(cams, before[1])


@pytest.mark.parametrize("power", [1, 2, 8, 256, 4096])
def test_chebyshev_coefficients_expand_the_power(power):
    coefficients = chebyshev_coefficients(power)
    assert len(coefficients) - 1 <= min(power, 8 * math.sqrt(power))
    x = np.linspace(-1, 1, 501)
    np.testing.assert_allclose(np.polynomial.chebyshev.chebval(x, coefficients), x**power, rtol=0, atol=2e-8)
    assert sum(coefficients) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize(
    ("cams", "edges", "options", "sentence"),
    [
        ((3, 4), (3, 4), {}, "must be"),
        ((2, 3, 4), (4, 3), {}, "must be"),
        ((2, 3, 4), (3, 4), {"radius": 0}, "radius >= 1"),
        ((2, 3, 4), (3, 4), {"beta": 0}, "beta > 0"),
        ((2, 3, 4), (3, 4), {"exp_times": -1}, "exp_times >= 0"),
    ],
)
def test_walk_refuses(cams, edges, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        random_walk(torch.zeros(cams), torch.zeros(edges), **options)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_walk_refuses_edges_that_are_not_probabilities(value):
    edges = torch.zeros(3, 4)
    edges[1, 2] = value
    with pytest.raises(ValueError, match="sigmoid"):
        random_walk(torch.zeros(2, 3, 4), edges)
