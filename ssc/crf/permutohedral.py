"""Gaussian filtering of pixels in any feature space, on the permutohedral lattice.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
Pixels are points in feature space; the lattice tiles that space with simplices, and a pixel has one barycentric
weight for each corner of its simplex. A filter *splats* pixel values onto the vertices, *blurs* them along each
lattice direction, and *slices* them back to the pixels: linear in the number of pixels.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

# Channels are padded to groups of four, one SIMD register, and filtered four at a time.
LANES = 4


class GaussianKernel(NamedTuple):
    """gain * D^-1/2 K D^-1/2, K Gaussian between N pixels, D = diag(K 1), as a lattice of M vertices."""

    # Unsigned, or compiled indexing checks for negative values: a tenth of the time.
    vertices: np.ndarray  # uint32 (N, d + 1), corners of each pixel's simplex
    weights: np.ndarray  # float32 (N, d + 1), barycentric weights times D^-1/2
    neighbours: np.ndarray  # uint32 (d + 1, M, 2), both neighbours in each direction; M stands for none
    gain: np.float32

    def scratch(self) -> np.ndarray:
        return np.empty((2, self.neighbours.shape[1] + 1, LANES), np.float32)


def gaussian_kernel(features: np.ndarray, weight: float) -> GaussianKernel:
    """Build the lattice of a Gaussian kernel with unit standard deviation.

    Args:
        features: float (N, d), d >= 2: pixels as points in units of the standard deviation. The first two are column
            and row, by which vertices are put in order.
        weight: factor of the normalised kernel.

    Raises:
        ValueError: the points reach too far out for the lattice's 64-bit vertex codes.
    """
    pixels, dimensions = features.shape
    axis = np.arange(1, dimensions + 1)
    points = features * np.sqrt(2 / 3 / (axis * (axis + 1)))
    # Bounds the places of all corners and of their neighbours, which lie less than 2 (d + 1) off in each coordinate;
    # written so that a NaN fails.
    reach = (axis * (axis + 1) * np.abs(points).max(axis=0) + 4 * axis).max()
    if not reach < _radix(dimensions) // 2:
        raise ValueError("a standard deviation of the CRF is too small for this photo; enlarge sxy or srgb")
    codes, weights = _simplices(points)
    vertices, vertex_codes = _number_vertices(codes)
    # By rows and columns of the photo, then by colour: near in the photo is near in memory, and all neighbours in a
    # direction follow each other as the vertices do. In the order of appearance the blur takes twice as long.
    order = np.argsort(vertex_codes)
    numbers = np.empty(len(order), np.uint32)
    numbers[order] = np.arange(len(order), dtype=np.uint32)
    vertices, neighbours = numbers[vertices], _find_neighbours(vertex_codes[order], dimensions)
    kernel = GaussianKernel(vertices, weights, neighbours, np.float32(1))
    degree = np.zeros((pixels, LANES), np.float32)
    add_filtered(degree, np.ones_like(degree), kernel.scratch(), *kernel)
    # At least the sum of its squared weights, a degree is never 0. The scale of the blur cancels out here.
    weights /= np.sqrt(degree[:, :1])
    return kernel._replace(gain=np.float32(weight))


@njit(cache=True)
def _radix(dimensions):
    """Base of a vertex code: d signed places below half of it in size fit into 62 bits."""
    return 2 ** (62 // dimensions)


@njit(cache=True)
def _steps(dimensions):
    """What the code of a vertex grows by where coordinate j does by d and all others fall by 1: int64 (d + 1,)."""
    steps = np.zeros(dimensions + 1, np.int64)
    for k in range(1, dimensions + 1):
        rank = 3 - k if k < 3 else k  # rows before columns, as pixels follow each other
        unit = _radix(dimensions) ** (dimensions - rank)
        steps[:k] += unit
        steps[k] -= k * unit
    return steps


@njit(cache=True, nogil=True)
def _simplices(points):
    """Locate the simplex of every point.

    Points are lifted onto the hyperplane of d + 1 coordinates that add up to 0, where lattice vertices have
    integer coordinates that are all equal modulo d + 1; that remainder, 0..d, tells a simplex' corners apart.
    The code of a vertex holds its place along each feature k = 1..d, (coordinate_0 + ... + coordinate_k-1 -
    k coordinate_k) / (d + 1), a whole number, as digits. It is linear in the coordinates, so a step on the lattice
    adds a constant to the code.

    Returns:
        int64 (N, d + 1) codes and float32 (N, d + 1) barycentric weights of the corners, in order of
        their remainder.
    """
    n, d = points.shape
    codes = np.empty((n, d + 1), np.int64)
    weights = np.empty((n, d + 1), np.float32)
    steps = _steps(d)
    lifted = np.empty(d + 1)  # coordinates over d + 1
    nearest = np.empty(d + 1, np.int64)
    residual = np.empty(d + 1)
    rank = np.empty(d + 1, np.int64)
    ordered_residual = np.empty(d + 1)
    ordered_step = np.empty(d + 1, np.int64)
    for p in range(n):
        tail = 0.0
        for i in range(d, 0, -1):
            lifted[i] = tail - i * points[p, i - 1]
            tail += points[p, i - 1]
        lifted[0] = tail

        excess = 0
        for i in range(d + 1):
            nearest[i] = math.floor(lifted[i] + 0.5)
            residual[i] = lifted[i] - nearest[i]
            excess += nearest[i]
            rank[i] = 0
        for i in range(d):
            for j in range(i + 1, d + 1):
                below = residual[i] < residual[j]
                rank[i] += below
                rank[j] += not below

        # Rounding leaves the hyperplane by `excess`: the coordinates that it moved furthest step back.
        code = 0
        for i in range(d + 1):
            r = rank[i] + excess
            back = (r > d) - (r < 0)
            r -= back * (d + 1)
            nearest[i] -= back
            ordered_residual[r] = residual[i] + back
            ordered_step[r] = steps[i]
            code += nearest[i] * steps[i]

        # From corner to corner all coordinates grow by 1, but that of the smallest residual left falls by d.
        codes[p, 0] = code
        weights[p, 0] = 1 + ordered_residual[d] - ordered_residual[0]
        for k in range(1, d + 1):
            code -= ordered_step[d + 1 - k]
            codes[p, k] = code
            weights[p, k] = ordered_residual[d - k] - ordered_residual[d + 1 - k]
    return codes, weights


@njit(cache=True, nogil=True)
def _number_vertices(codes):
    """Number distinct codes 0..M - 1 in order of appearance: uint32 numbers shaped like `codes`, and the M codes."""
    numbers = np.empty(codes.shape, np.uint32)
    vertex_codes = np.empty(codes.size, np.int64)
    table = np.full(2**16, -1, np.int32)
    count = 0
    for p in range(codes.shape[0]):
        for k in range(codes.shape[1]):
            if p > 0 and codes[p, k] == codes[p - 1, k]:
                numbers[p, k] = numbers[p - 1, k]
                continue
            slot = _slot(codes[p, k], vertex_codes, table)
            if table[slot] < 0:
                table[slot] = count
                vertex_codes[count] = codes[p, k]
                count += 1
            numbers[p, k] = table[slot]
            if 2 * count > len(table):
                table = np.full(2 * len(table), -1, np.int32)
                for v in range(count):
                    table[_slot(vertex_codes[v], vertex_codes, table)] = v
    return numbers, vertex_codes[:count].copy()


@njit(cache=True, nogil=True)
def _slot(code, vertex_codes, table):
    """Where an open-addressing table of vertex numbers (-1: free) holds `code`, or would."""
    slot = (np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    mask = np.uint64(len(table) - 1)
    while table[slot & mask] >= 0 and vertex_codes[table[slot & mask]] != code:
        slot += np.uint64(1)
    return slot & mask


@njit(cache=True, nogil=True)
def _find_neighbours(codes, dimensions):
    """Both neighbours of every vertex in each lattice direction: uint32 (d + 1, M, 2), M where there is none.

    `codes` ascend.
    """
    count, steps = len(codes), _steps(dimensions)
    neighbours = np.full((dimensions + 1, count, 2), count, np.uint32)
    for direction in range(dimensions + 1):
        other = 0
        for v in range(count):
            wanted = codes[v] + steps[direction]
            while other < count and codes[other] < wanted:
                other += 1
            if other < count and codes[other] == wanted:
                neighbours[direction, v, 0] = other
                neighbours[direction, other, 1] = v
    return neighbours


@njit(cache=True, nogil=True)
def add_filtered(out, rows, scratch, vertices, weights, neighbours, gain):
    """Add a `GaussianKernel` (the last four arguments) times `rows` to `out`, both float32 (N, lanes).

    `scratch`, float32 (2, M + 1, LANES), spares an allocation per call, which costs as much as the blur.
    """
    for lane in range(0, rows.shape[1], LANES):
        scratch[:] = 0  # includes row M, the neighbour that is absent
        _splat(scratch[0], rows[:, lane : lane + LANES], vertices, weights)
        _blur(scratch, neighbours)
        result = scratch[neighbours.shape[0] % 2]
        _slice(out[:, lane : lane + LANES], result, vertices, weights, gain)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _splat(values, rows, vertices, weights):
    for p in range(vertices.shape[0]):
        q0, q1, q2, q3 = rows[p, 0], rows[p, 1], rows[p, 2], rows[p, 3]
        for corner in range(vertices.shape[1]):
            v, w = vertices[p, corner], weights[p, corner]
            values[v, 0] += w * q0
            values[v, 1] += w * q1
            values[v, 2] += w * q2
            values[v, 3] += w * q3


@njit(cache=True, nogil=True, fastmath={"contract"})
def _blur(scratch, neighbours):
    """Convolve with [0.5, 1, 0.5] along every direction in turn, to and fro between the two halves of scratch."""
    half = np.float32(0.5)
    for direction in range(neighbours.shape[0]):
        values, blurred = scratch[direction % 2], scratch[1 - direction % 2]
        for v in range(neighbours.shape[1]):
            a, b = neighbours[direction, v, 0], neighbours[direction, v, 1]
            for lane in range(LANES):
                blurred[v, lane] = values[v, lane] + half * (values[a, lane] + values[b, lane])


@njit(cache=True, nogil=True, fastmath={"contract"})
def _slice(out, values, vertices, weights, gain):
    for p in range(vertices.shape[0]):
        s0 = s1 = s2 = s3 = np.float32(0)
        for corner in range(vertices.shape[1]):
            v, w = vertices[p, corner], weights[p, corner]
            s0 += w * values[v, 0]
            s1 += w * values[v, 1]
            s2 += w * values[v, 2]
            s3 += w * values[v, 3]
        out[p, 0] += gain * s0
        out[p, 1] += gain * s1
        out[p, 2] += gain * s2
        out[p, 3] += gain * s3
