"""Draw the composition of a demo scene: the image, and the mask that is exact by construction.

Shapes are implicit functions on the pixel grid of a canvas twice as fine as the scene, each evaluated in the
window that holds it, by operations that every machine rounds alike (see `ssc.data.demo`).
"""

from itertools import product

import numpy as np

from ssc.data.demo.creatures import Composition, Creature, Rng, Rock, Trunk, class_hue, rgb

SUPERSAMPLING = 2

# Two colours of the ground, then the sky's at the top and at the horizon.
LANDSCAPES = {
    "meadow": np.array([[0.25, 0.40, 0.17], [0.55, 0.66, 0.31], [0.58, 0.74, 0.88], [0.86, 0.91, 0.94]]),
    "desert": np.array([[0.68, 0.52, 0.33], [0.91, 0.80, 0.58], [0.93, 0.76, 0.60], [0.98, 0.90, 0.76]]),
    "heath": np.array([[0.36, 0.25, 0.38], [0.64, 0.48, 0.58], [0.70, 0.70, 0.82], [0.90, 0.86, 0.90]]),
    "lagoon": np.array([[0.13, 0.36, 0.47], [0.42, 0.66, 0.70], [0.52, 0.68, 0.78], [0.85, 0.88, 0.84]]),
    "slate": np.array([[0.40, 0.41, 0.42], [0.74, 0.74, 0.72], [0.62, 0.65, 0.70], [0.84, 0.85, 0.87]]),
}
BARK = np.array([[0.22, 0.15, 0.11], [0.47, 0.35, 0.25]])

Field = np.ndarray
Point = tuple[float, float]
Window = tuple[slice, slice]


class Canvas:
    """A square of n x n fine pixels, painted from back to front: colours 0..1 (n, n, 3), labels (n, n)."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.colours = np.zeros((n, n, 3))
        self.labels = np.zeros((n, n), np.uint8)

    def window(self, x: float, y: float, reach: float) -> tuple[Window, Field, Field]:
        """The pixels within `reach` of (x, y), with their offsets dx (1, w) and dy (h, 1) from that point."""
        columns, rows = (
            np.arange(max(int((middle - reach) * self.n), 0), min(int((middle + reach) * self.n) + 1, self.n))
            for middle in (x, y)
        )
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return window, ((columns + 0.5) / self.n - x)[None, :], ((rows + 0.5) / self.n - y)[:, None]

    def paint(self, window: Window, inside: Field, colours: Field, label: int = 0) -> None:
        """Put `colours`, (h, w, 3) or (3,), where `inside` (h, w) is true."""
        np.copyto(self.colours[window], colours, where=inside[..., None])
        self.labels[window][inside] = label


def draw(rng: Rng, composition: Composition, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a composition with texture from `rng`: image uint8 (size, size, 3) and mask uint8 (size, size)."""
    canvas = Canvas(SUPERSAMPLING * size)
    texture = _fractal_noise(rng, canvas.n)
    _paint_landscape(canvas, composition, texture, clouds=_fractal_noise(rng, canvas.n))
    for thing in composition.things:
        PAINTERS[type(thing)](canvas, thing, texture)

    a, b, c, d = _subpixels(canvas.colours)
    grain = 0.05 * (rng.random((size, size, 1)) - 0.5)
    image = np.clip(((a + b) + (c + d)) / 4.0 + grain, 0.0, 1.0)
    return (255.0 * image + 0.5).astype(np.uint8), halve_labels(canvas.labels)


def halve_labels(fine: np.ndarray) -> np.ndarray:
    """Reduce labels (2h, 2w) of at most two classes and background 0 to (h, w).

    A pixel is foreground if two or more of its four fine pixels are, and then of the class that more of them have
    (the lower label if the two classes have one each, the higher if they have two each).
    """
    return np.sort(_subpixels(fine), axis=0)[2]  # the third smallest of four is just that


def _subpixels(fine: Field) -> list[Field]:
    """The four fine pixels of every pixel, one array for each corner."""
    corners = product(range(SUPERSAMPLING), repeat=2)
    return [fine[row::SUPERSAMPLING, column::SUPERSAMPLING] for row, column in corners]


def _fractal_noise(rng: Rng, n: int) -> Field:
    """1/f noise (n, n) in 0..1: smoothly interpolated lattices, each twice as fine and half as strong."""
    total = np.full((n, n), 0.5)
    for cells in (3, 6, 12, 24, 48):
        lattice = (rng.random((cells + 1, cells + 1)) - 0.5) * (3.0 / cells)
        position = (np.arange(n) + 0.5) * (cells / n)
        cell = position.astype(int)
        step = position - cell
        blend = step * step * (3.0 - 2.0 * step)
        rows = lattice[cell] + (lattice[cell + 1] - lattice[cell]) * blend[:, None]
        total += rows[:, cell] + (rows[:, cell + 1] - rows[:, cell]) * blend
    return np.clip(total, 0.0, 1.0)


def _mix(low: Field, high: Field, weight: Field) -> Field:
    """Colours (h, w, 3) between two colours (3,), by a weight (h, w)."""
    return low + (high - low) * weight[..., None]


def _paint_landscape(canvas: Canvas, composition: Composition, texture: Field, clouds: Field) -> None:
    dark, light, zenith, haze = LANDSCAPES[composition.ground]
    everything, _, y = canvas.window(0.0, 0.0, 1.0)
    skyline = composition.horizon + 0.08 * (clouds[canvas.n // 2] - 0.5)
    depth = (y - skyline) / (1.0 - skyline)  # 0 at the skyline, 1 at the lower edge, negative in the sky
    sky = _mix(zenith, haze, np.clip(clouds + depth + 0.2, 0.0, 1.0))
    ground = _mix(dark, light, texture) * (1.1 - 0.3 * depth)[..., None]
    canvas.paint(everything, depth < 0.0, sky)
    canvas.paint(everything, depth >= 0.0, ground)


def _paint_rock(canvas: Canvas, rock: Rock, texture: Field) -> None:
    window, dx, dy = canvas.window(rock.x, rock.y, 1.3 * rock.scale)
    u, v, bumps = dx / rock.scale, dy / rock.scale, texture[window]
    inside = (u * u + 1.6 * v * v < 0.4 + 1.2 * bumps) & (v < 0.5)
    light = 0.55 - 0.3 * v + 0.4 * bumps
    canvas.paint(window, inside, np.array(rock.colour) * light[..., None])


def _paint_trunk(canvas: Canvas, trunk: Trunk, texture: Field) -> None:
    window, dx, dy = canvas.window(trunk.x, 0.0, trunk.foot)
    height = trunk.foot - dy
    flare = np.clip(1.0 - height / 0.15, 0.0, 1.0)
    across = (dx - trunk.lean * height) / (trunk.half_width * (1.0 + 0.7 * flare * flare))
    grooves = texture[canvas.n // 2, window[1]]
    bark = _mix(*BARK, np.clip(2.0 * grooves + texture[window] - 0.9, 0.0, 1.0))
    canvas.paint(window, (across * across < 1.0) & (height > 0.0), bark * (1.15 - 0.5 * across * across)[..., None])


def _paint_creature(canvas: Canvas, creature: Creature, texture: Field) -> None:
    """Paint shadow, legs, tail, body and head; u is ahead and v up, in units of the creature's scale."""
    window, dx, dy = canvas.window(creature.x, creature.y, 1.6 * creature.scale)
    cosine, sine = creature.axis
    u = (dx * cosine + dy * sine) * (creature.facing / creature.scale)
    v = (dx * sine - dy * cosine) / creature.scale

    shadow = _ellipse(dx, dy + (creature.y - creature.foot), 0.85 * creature.scale, 0.2 * creature.scale)
    canvas.colours[window][shadow] *= 0.72  # also on creatures behind, whose labels stay

    light = 0.77 + 0.22 * v + 0.3 * texture[window]
    skin = np.array(creature.colour) * light[..., None]
    coat = np.where(_is_dark(creature, u, v)[..., None], 0.55 * skin, skin)
    step = creature.stride
    for hip, foot, shade in (
        (0.42, 0.50 - step, 0.7),
        (-0.50, -0.58 + step, 0.7),
        (0.58, 0.62 + step, 0.9),
        (-0.34, -0.38 - step, 0.9),
    ):
        canvas.paint(window, _capsule(u, v, (hip, -0.25), (foot, -0.85), 0.1), shade * skin, creature.label)
    bend, tip = (-1.05, 0.1 + 0.5 * creature.tail), (-1.3, 0.2 + creature.tail)
    tail = _capsule(u, v, (-0.7, 0.1), bend, 0.085) | _capsule(u, v, bend, tip, 0.085)
    neck = _capsule(u, v, (0.6, 0.1), (0.8, 0.4), 0.17)
    canvas.paint(window, tail | neck | _ellipse(u, v, 0.85, 0.47), coat, creature.label)
    if creature.headed:
        _paint_head(canvas, window, u - 0.88, v - 0.5, creature.label)


PAINTERS = {Creature: _paint_creature, Rock: _paint_rock, Trunk: _paint_trunk}


def _paint_head(canvas: Canvas, window: Window, u: Field, v: Field, label: int) -> None:
    head = HEADS[label - 1](u / 0.36, v / 0.36)
    colour = np.array(rgb(class_hue(label), 0.95, 0.95))
    canvas.paint(window, head, colour * (0.95 + 0.3 * v)[..., None], label)
    for ahead, radius, grey in (
        (-0.03, 0.085, 1.0),
        (0.19, 0.085, 1.0),
        (-0.03, 0.05, 0.05),
        (0.19, 0.05, 0.05),
    ):
        canvas.paint(window, head & _ellipse(u - ahead, v - 0.06, radius, radius), np.full(3, grey), label)


def _is_dark(creature: Creature, u: Field, v: Field) -> Field:
    """Where the coat has its dark shade: nowhere, in stripes across the back, or in staggered spots."""
    if creature.pattern == "striped":
        stripes = 3.6 * u + 0.8 * v + creature.phase
        return stripes - np.floor(stripes) < 0.45
    rows = 3.6 * v + creature.phase
    columns = 3.6 * u + 0.5 * np.floor(rows)
    spotted = creature.pattern == "spotted"
    return spotted & _ellipse(rows - np.floor(rows) - 0.5, columns - np.floor(columns) - 0.5, 0.32, 0.32)


# Shapes, true inside. Heads are at unit scale and have an area of about 2.5 each.


def _ellipse(u: Field, v: Field, half_length: float, half_height: float) -> Field:
    a, b = u / half_length, v / half_height
    return a * a + b * b < 1.0


def _capsule(u: Field, v: Field, start: Point, end: Point, radius: float) -> Field:
    """Within `radius` of the segment from start to end."""
    du, dv = end[0] - start[0], end[1] - start[1]
    u, v = u - start[0], v - start[1]
    along = np.clip((u * du + v * dv) / (du * du + dv * dv), 0.0, 1.0)
    return _ellipse(u - along * du, v - along * dv, radius, radius)


def _disc(u: Field, v: Field) -> Field:
    return u * u + v * v < 0.8


def _square(u: Field, v: Field) -> Field:
    return np.maximum(np.abs(u), np.abs(v)) < 0.79


def _triangle(u: Field, v: Field) -> Field:
    return np.maximum(-v, 0.866 * np.abs(u) + 0.5 * v) < 0.7


def _star(u: Field, v: Field) -> Field:
    """Five lines join every second corner of a pentagon; the star is what at most one of them cuts off."""
    normals = ((0.0, -1.0), (0.951, -0.309), (-0.951, -0.309), (0.588, 0.809), (-0.588, 0.809))
    return np.sum([u * x + v * y < 0.45 for x, y in normals], axis=0) >= 4


HEADS = (_disc, _square, _triangle, _star)
