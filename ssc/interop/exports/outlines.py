"""The polygon of a region, along the borders of its pixels.

The pixel in row i and column j is the square from (x, y) = (j, i) to (j + 1, i + 1), as COCO has it: its centre is at
(j + 0.5, i + 0.5), and the picture spans (0, 0) to (W, H). By the even-odd rule the pixels with their centre inside are
those of the region.
"""

from itertools import chain

import numpy as np

from ssc.interop.exports.masks import Region

Point = tuple[int, int]


def polygon(region: Region) -> np.ndarray:
    """The corners (n, 2) of a region, x and y in pixels of the picture; the last is joined to the first.

    It is a single line, since formats have no other: from a hole, a cut of no width leads to what lies on its left, and
    back.
    """
    shape = region.shape
    path, *holes = sorted(_rings(shape), key=min)  # the outer ring alone reaches the box's left side
    for hole in holes:
        # In this order, what a hole meets on its left is a part of the path already.
        first = min(hole)
        x, y = first
        while x and shape[y, x - 1]:
            x -= 1
        cut, start = path.index((x, y)), hole.index(first)
        path[cut + 1 : cut + 1] = [*hole[start:], *hole[:start], first, (x, y)]
    points = np.array(path)
    before = np.sign(points - np.roll(points, 1, axis=0))
    after = np.roll(before, -1, axis=0)
    return points[(before != after).any(axis=1)] + np.array([region.left, region.top])


def _rings(shape: np.ndarray) -> list[list[Point]]:
    """Closed lines around the region and around its holes, each by all points of the grid that it passes."""
    padded = np.pad(shape, 1).astype(np.int8)
    level, upright = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    # Steps along a pixel's side, with the region on the right: where they start, and their direction.
    steps = dict.fromkeys(
        chain(
            ((x, y, 1, 0) for y, x in np.argwhere(level == 1).tolist()),
            ((x + 1, y, -1, 0) for y, x in np.argwhere(level == -1).tolist()),
            ((x, y + 1, 0, -1) for y, x in np.argwhere(upright == 1).tolist()),
            ((x, y, 0, 1) for y, x in np.argwhere(upright == -1).tolist()),
        )
    )
    rings, left = [], dict(steps)
    while left:
        ring, step = [], next(iter(left))
        while step in left:
            del left[step]
            x, y, dx, dy = step
            ring.append((x, y))
            x, y = x + dx, y + dy
            # Where two pixels meet at a corner alone, the line turns right and stays with its own.
            step = next(step for step in ((x, y, -dy, dx), (x, y, dx, dy), (x, y, dy, -dx)) if step in steps)
        rings.append(ring)
    return rings
