"""Graph-based segmentation (Felzenszwalb & Huttenlocher, IJCV 2004) in Numba kernels that release the lock.

The graph is 8-connected: two pixels are joined by an edge that costs their distance in colour. Components grow over
edges in ascending order while an edge costs no more than both components' inner variation plus scale / size.
"""

import numpy as np
from numba import njit

# The four edges that a pixel owns: right, down, down-right, down-left. An edge is numbered 4 * pixel + kind.
_DOWN = np.array([0, 1, 1, 1])
_RIGHT = np.array([1, 0, 1, -1])
_FIRST_DIAGONAL = 2

_DIGITS = 4
_DIGIT_BITS = 11


def smooth_image(image, sigma):
    """Gaussian smoothing of uint8 (H, W, 3) to float64 in 0..1, mirrored at the border."""
    radius = int(4.0 * sigma + 0.5)
    kernel = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="symmetric")
    flat = _convolve(padded.reshape(padded.shape[0], -1), kernel[radius:])
    return flat.reshape(image.shape)


@njit(cache=True, nogil=True)
def _convolve(padded, kernel):
    """Filter columns, then rows, of interleaved RGB: uint8 (H + 2r, 3 (W + 2r)) to float64 (H, 3 W) in 0..1.

    `kernel` is the right half, (r + 1,), of a symmetric one; terms are added from the outermost inwards, as SciPy
    does, so that results are equal to the last bit.
    """
    radius = kernel.size - 1
    height = padded.shape[0] - 2 * radius
    width = padded.shape[1] - 6 * radius
    out = np.empty((height, width))
    pixels = padded * (1.0 / 255.0)
    column = np.empty(padded.shape[1])
    for y in range(height):
        for x in range(column.size):
            column[x] = kernel[0] * pixels[y + radius, x]
        for k in range(radius, 0, -1):
            for x in range(column.size):
                column[x] += kernel[k] * (pixels[y + radius - k, x] + pixels[y + radius + k, x])
        for x in range(width):
            out[y, x] = kernel[0] * column[x + 3 * radius]
        for k in range(radius, 0, -1):
            for x in range(width):
                out[y, x] += kernel[k] * (column[x + 3 * (radius - k)] + column[x + 3 * (radius + k)])
    return out


@njit(cache=True, nogil=True)
def edge_costs(smooth):
    """Colour distance along every edge of the 8-connected grid, (4 H W,); -1 where the edge leaves the image."""
    height, width, _ = smooth.shape
    costs = np.empty(4 * height * width)
    for y in range(height):
        for x in range(width):
            for kind in range(4):
                v, u = y + _DOWN[kind], x + _RIGHT[kind]
                edge = 4 * (y * width + x) + kind
                if v < height and 0 <= u < width:
                    red = smooth[v, u, 0] - smooth[y, x, 0]
                    green = smooth[v, u, 1] - smooth[y, x, 1]
                    blue = smooth[v, u, 2] - smooth[y, x, 2]
                    costs[edge] = np.sqrt(red * red + green * green + blue * blue)
                else:
                    costs[edge] = -1.0
    return costs


@njit(cache=True, nogil=True)
def sorted_edges(costs):
    """Edge numbers by ascending cost, int32, without those of negative cost: a stable radix sort.

    Costs lie below 2 and are told apart to 2**-43; closer ones differ by rounding alone and keep their order.
    """
    values = 1 << _DIGIT_BITS
    keys = np.empty(costs.size, np.int64)
    edges = np.empty(costs.size, np.int32)
    slots = np.zeros((_DIGITS, values), np.int64)
    total = 0
    for edge in range(costs.size):
        if costs[edge] >= 0:
            keys[total] = np.int64(costs[edge] * 2.0 ** (_DIGITS * _DIGIT_BITS - 1))
            edges[total] = edge
            for digit in range(_DIGITS):
                slots[digit, (keys[total] >> (_DIGIT_BITS * digit)) & (values - 1)] += 1
            total += 1
    keys, edges = keys[:total], edges[:total]
    next_keys, next_edges = np.empty_like(keys), np.empty_like(edges)
    for digit in range(_DIGITS):
        free = 0
        for value in range(values):  # from how many keys have a value to where its first key goes
            free, slots[digit, value] = free + slots[digit, value], free
        for i in range(total):
            value = (keys[i] >> (_DIGIT_BITS * digit)) & (values - 1)
            slot = slots[digit, value]
            slots[digit, value] += 1
            next_keys[slot] = keys[i]
            next_edges[slot] = edges[i]
        keys, next_keys = next_keys, keys
        edges, next_edges = next_edges, edges
    return edges


@njit(cache=True, nogil=True)
def _find(parents, node):
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@njit(cache=True, nogil=True)
def _ends(parents, edge, width):
    """Roots of the two pixels that an edge joins."""
    pixel, kind = edge >> 2, edge & 3
    return _find(parents, pixel), _find(parents, pixel + _DOWN[kind] * width + _RIGHT[kind])


@njit(cache=True, nogil=True)
def grow(costs, order, width, scale):
    """Union-find parents (H W,) after joining every pair whose edge is below both internal differences."""
    pixels = costs.size // 4
    parents = np.arange(pixels, dtype=np.int32)
    sizes = np.ones(pixels, np.int32)
    limits = np.full(pixels, scale)
    for edge in order:
        a, b = _ends(parents, edge, width)
        cost = costs[edge]
        if a != b and cost < limits[a] and cost < limits[b]:
            a, b = min(a, b), max(a, b)
            parents[b] = a
            sizes[a] += sizes[b]
            limits[a] = cost + scale / sizes[a]
    return parents


@njit(cache=True, nogil=True)
def split_at_corners(parents, height, width):
    """Cut components into 4-connected parts: new parents (H W,) and the sizes at their roots."""
    parts = np.arange(height * width, dtype=np.int32)
    for y in range(height):
        for x in range(width):
            pixel = y * width + x
            root = _find(parents, pixel)
            if x > 0 and _find(parents, pixel - 1) == root:
                _union(parts, pixel, pixel - 1)
            if y > 0 and _find(parents, pixel - width) == root:
                _union(parts, pixel, pixel - width)
    sizes = np.zeros(height * width, np.int32)
    for pixel in range(height * width):
        sizes[_find(parts, pixel)] += 1
    return parts, sizes


@njit(cache=True, nogil=True)
def _union(parents, i, j):
    a, b = _find(parents, i), _find(parents, j)
    parents[max(a, b)] = min(a, b)


@njit(cache=True, nogil=True)
def absorb_small(parents, sizes, order, width, min_size):
    """Join regions below `min_size` across the cheapest pixel side that they share with another, in place."""
    for edge in order:
        if edge & 3 < _FIRST_DIAGONAL:
            a, b = _ends(parents, edge, width)
            if a != b and (sizes[a] < min_size or sizes[b] < min_size):
                a, b = min(a, b), max(a, b)
                parents[b] = a
                sizes[a] += sizes[b]


@njit(cache=True, nogil=True)
def compact(parents):
    """Labels 0..n-1 of the roots of a union-find forest, by first appearance, and n."""
    labels = np.empty(parents.size, np.int32)
    names = np.full(parents.size, -1, np.int32)
    count = 0
    for node in range(parents.size):
        root = _find(parents, node)
        if names[root] < 0:
            names[root] = count
            count += 1
        labels[node] = names[root]
    return labels, count
