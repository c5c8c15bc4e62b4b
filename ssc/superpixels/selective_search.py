"""Grouping of regions by the similarity of selective search (Uijlings et al., IJCV 2013, section 3.2)."""

import numpy as np
from numba import njit

COLOUR_BINS = 25
TEXTURE_BINS = 10
ORIENTATIONS = 8


@njit(cache=True, nogil=True)
def histograms(image, smooth, labels, count):
    """Colour (n, 75) and texture (n, 240) counts of every region; rows sum to 3 and 24 times the region's pixels.

    Colour is hue, saturation and value. Texture is, for each RGB channel, the derivative in 8 directions, negative
    ones counted as zero. The central difference of an image smoothed with a Gaussian of 0.8 pixels has the spread
    of the derivative of a Gaussian of 1 pixel, which is the filter of the paper.
    """
    height, width, _ = image.shape
    colour = np.zeros((count, 3 * COLOUR_BINS), np.int32)
    texture = np.zeros((count, 3 * ORIENTATIONS * TEXTURE_BINS), np.int32)
    diagonal = np.sqrt(0.5)
    for y in range(height):
        up, down = max(y - 1, 0), min(y + 1, height - 1)
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            region = labels[y, x]
            bins = hsv_bins(np.int64(image[y, x, 0]), np.int64(image[y, x, 1]), np.int64(image[y, x, 2]))
            for c in range(3):
                colour[region, c * COLOUR_BINS + bins[c]] += 1
                dx = smooth[y, right, c] - smooth[y, left, c]
                dy = smooth[down, x, c] - smooth[up, x, c]
                axes = (dx, (dx + dy) * diagonal, dy, (dy - dx) * diagonal)
                for k in range(4):
                    rising = (c * ORIENTATIONS + k) * TEXTURE_BINS
                    falling = rising + 4 * TEXTURE_BINS
                    if axes[k] < 0:
                        rising, falling = falling, rising
                    texture[region, rising + min(int(abs(axes[k]) * TEXTURE_BINS), TEXTURE_BINS - 1)] += 1
                    texture[region, falling] += 1
    return colour, texture


@njit(cache=True, nogil=True)
def hsv_bins(red, green, blue):
    """Histogram bins of hue, saturation and value of a colour in 0..255, in whole numbers and so exact."""
    value = max(red, green, blue)
    chroma = value - min(red, green, blue)
    value_bin = value * COLOUR_BINS // 256
    if chroma == 0:
        return 0, 0, value_bin
    circle = 6 * chroma
    if value == red:
        hue = (green - blue) % circle
    elif value == green:
        hue = 2 * chroma + blue - red
    else:
        hue = 4 * chroma + red - green
    return hue * COLOUR_BINS // circle, min(chroma * COLOUR_BINS // value, COLOUR_BINS - 1), value_bin


@njit(cache=True, nogil=True)
def extents(labels, count):
    """Pixels of every region (n,), and its bounding box (n, 4) as top, left, bottom, right, ends inclusive."""
    height, width = labels.shape
    sizes = np.zeros(count, np.int64)
    boxes = np.empty((count, 4), np.int64)
    boxes[:, :2] = max(height, width)
    boxes[:, 2:] = 0
    for y in range(height):
        for x in range(width):
            region = labels[y, x]
            sizes[region] += 1
            _enlarge(boxes[region], y, x, y, x)
    return sizes, boxes


@njit(cache=True, nogil=True)
def _enlarge(box, top, left, bottom, right):
    """Make a bounding box hold another, in place."""
    box[0] = min(box[0], top)
    box[1] = min(box[1], left)
    box[2] = max(box[2], bottom)
    box[3] = max(box[3], right)


def neighbours(labels, count):
    """Pairs (m, 2) of regions that share a pixel side, the smaller first, each once, in ascending order."""
    codes = np.unique(_contacts(labels, count))
    return np.stack(np.divmod(codes, count), axis=1)


@njit(cache=True, nogil=True)
def _contacts(labels, count):
    """smaller * n + larger label for every pixel side between two regions, int64."""
    height, width = labels.shape
    codes = np.empty(2 * labels.size, np.int64)
    total = 0
    for y in range(height):
        for x in range(width):
            here = labels[y, x]
            for v, u in ((y + 1, x), (y, x + 1)):
                if v < height and u < width and labels[v, u] != here:
                    there = labels[v, u]
                    codes[total] = np.int64(min(here, there)) * count + max(here, there)
                    total += 1
    return codes[:total]


@njit(cache=True, nogil=True)
def _overlap(first, second, first_size, second_size):
    """Intersection of two histograms, each divided by its region's pixels, times the product of both pixel counts.

    Whole numbers make the sum exact, hence independent of its order, and let the compiler vectorise it.
    """
    total = np.int64(0)
    for i in range(first.size):
        total += min(np.int64(first[i]) * second_size, np.int64(second[i]) * first_size)
    return total


@njit(cache=True, nogil=True)
def _similarity(a, b, colour, texture, sizes, boxes, pixels):
    """Selective-search similarity of two regions: colour + texture + size + fill, each in 0..1."""
    product = float(sizes[a]) * sizes[b]
    both = sizes[a] + sizes[b]
    rows = max(boxes[a, 2], boxes[b, 2]) - min(boxes[a, 0], boxes[b, 0]) + 1
    columns = max(boxes[a, 3], boxes[b, 3]) - min(boxes[a, 1], boxes[b, 1]) + 1
    like_colour = _overlap(colour[a], colour[b], sizes[a], sizes[b]) / (3 * product)
    like_texture = _overlap(texture[a], texture[b], sizes[a], sizes[b]) / (3 * ORIENTATIONS * product)
    size = 1.0 - both / pixels
    fill = 1.0 - (rows * columns - both) / pixels
    return like_colour + like_texture + size + fill


@njit(cache=True, nogil=True)
def merge(colour, texture, sizes, boxes, pairs, max_regions):
    """Join the most similar neighbours until `max_regions` remain: a forest (n,) of regions, as in `felzenszwalb`,
    but with -1 at all roots.

    A joined pair lives on under its smaller number; equal similarities go to the lowest pair of numbers. All
    pairs are read at every step: with a few hundred regions this is quicker than keeping a queue in order.
    The arguments are overwritten.
    """
    count, total, pixels = sizes.size, len(pairs), sizes.sum()
    forest = np.full(count, -1, np.int32)
    met = np.full(count, -1)  # the region whose end a region last took notice of
    similarity = np.empty(total)
    for i in range(total):
        similarity[i] = _similarity(pairs[i, 0], pairs[i, 1], colour, texture, sizes, boxes, pixels)
    for _ in range(count - max_regions):
        best = 0
        for i in range(1, total):
            if similarity[i] > similarity[best] or (
                similarity[i] == similarity[best] and (pairs[i, 0], pairs[i, 1]) < (pairs[best, 0], pairs[best, 1])
            ):
                best = i
        a, b = pairs[best, 0], pairs[best, 1]
        forest[b] = a
        for i in range(colour.shape[1]):
            colour[a, i] += colour[b, i]
        for i in range(texture.shape[1]):
            texture[a, i] += texture[b, i]
        sizes[a] += sizes[b]
        _enlarge(boxes[a], boxes[b, 0], boxes[b, 1], boxes[b, 2], boxes[b, 3])

        kept = 0
        for i in range(total):
            low = a if pairs[i, 0] == b else pairs[i, 0]
            high = a if pairs[i, 1] == b else pairs[i, 1]
            if low == a or high == a:
                other = high if low == a else low
                if other == a or met[other] == b:  # the joined pair itself, or a neighbour that both had
                    continue
                met[other] = b
                low, high = min(a, other), max(a, other)
                similarity[i] = _similarity(low, high, colour, texture, sizes, boxes, pixels)
            pairs[kept, 0], pairs[kept, 1], similarity[kept] = low, high, similarity[i]
            kept += 1
        total = kept
    return forest
