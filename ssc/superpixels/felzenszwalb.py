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


# A forest of regions is one array over pixels: what is below zero is a root, minus the number of its pixels; else a
# pixel's parent. One array, since large photos outgrow the processor's cache and each look-up then costs a wait.


@njit(cache=True, nogil=True)
def _find(forest, node):
    """Root of a node; the way there is halved for those that come after."""
    parent = forest[node]
    while parent >= 0:
        above = forest[parent]
        if above < 0:
            return parent
        forest[node] = above
        node, parent = above, forest[above]
    return node


@njit(cache=True, nogil=True)
def _join(forest, a, b):
    """The root of two regions that become one, given by their roots: that of the larger."""
    if forest[a] > forest[b]:
        a, b = b, a
    forest[a] += forest[b]
    forest[b] = a
    return a


@njit(cache=True, nogil=True)
def _ends(forest, edge, width):
    """Roots of the two pixels that an edge joins."""
    pixel, kind = edge >> 2, edge & 3
    other = pixel + _DOWN[kind] * width + _RIGHT[kind]
    if forest[pixel] >= 0 and forest[pixel] == forest[other]:  # most edges: the parent is the same, whatever its root
        return forest[pixel], forest[pixel]
    return _find(forest, pixel), _find(forest, other)


@njit(cache=True, nogil=True)
def grow(costs, order, width, scale):
    """Forest (H W,) of the regions after joining every pair whose edge is below both internal differences."""
    forest = np.full(costs.size // 4, -1, np.int32)
    limits = np.full(forest.size, scale)
    for edge in order:
        a, b = _ends(forest, edge, width)
        if a != b:
            cost = costs[edge]
            if cost < limits[a] and cost < limits[b]:
                root = _join(forest, a, b)
                limits[root] = cost - scale / forest[root]
    return forest


@njit(cache=True, nogil=True)
def split_at_corners(forest, height, width):
    """Forest (H W,) of the 4-connected parts of regions."""
    parts = np.full(height * width, -1, np.int32)
    for y in range(height):
        for x in range(width):
            pixel = y * width + x
            root = _find(forest, pixel)
            for there, other in ((x > 0, pixel - 1), (y > 0, pixel - width)):
                if there and _find(forest, other) == root:
                    a, b = _find(parts, pixel), _find(parts, other)
                    if a != b:
                        _join(parts, a, b)
    return parts


@njit(cache=True, nogil=True)
def absorb_small(forest, order, width, min_size):
    """Join regions below `min_size` across the cheapest pixel side that they share with another, in place."""
    for edge in order:
        if edge & 3 < _FIRST_DIAGONAL:
            a, b = _ends(forest, edge, width)
            if a != b and (-forest[a] < min_size or -forest[b] < min_size):
                _join(forest, a, b)


@njit(cache=True, nogil=True)
def compact(forest):
    """Labels 0..n-1 of the regions of a forest, by first appearance, and n."""
    labels = np.empty(forest.size, np.int32)
    names = np.full(forest.size, -1, np.int32)
    count = 0
    for node in range(forest.size):
        root = _find(forest, node)
        if names[root] < 0:
            names[root] = count
            count += 1
        labels[node] = names[root]
    return labels, count
