"""What a demo scene shows: creatures, rocks, a trunk and a ground, chosen before any pixel is drawn.

Like the drawing, this keeps to operations that every machine rounds alike (see `ssc.data.demo`): unit vectors
come from the rational half-angle formula, normal deviates from sums of uniforms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

import numpy as np

CLASS_NAMES = ("orbi", "quado", "trixi", "astra")
"""Names of labels 1, 2, ...; each hints at the shape of the head: orb, square, triangle, star."""

GROUNDS = ("meadow", "desert", "heath", "lagoon", "slate")
"""Ground k goes with class k, the last one with none."""

PATTERNS = ("plain", "striped", "spotted")

RGB = tuple[float, float, float]
Rng = np.random.Generator
T = TypeVar("T")


@dataclass(frozen=True)
class Creature:
    """One creature; lengths in units of the scene's side, y downwards.

    `axis` is the unit vector along its back; `facing` is 1 when it looks right and -1 when it looks left.
    """

    x: float
    y: float
    scale: float
    colour: RGB
    label: int
    axis: tuple[float, float]
    facing: int
    pattern: str
    phase: float
    headed: bool
    stride: float
    tail: float

    @property
    def foot(self) -> float:
        return self.y + 0.85 * self.scale


@dataclass(frozen=True)
class Rock:
    """A rock in the colour of a body; units as of `Creature`."""

    x: float
    y: float
    scale: float
    colour: RGB

    @property
    def foot(self) -> float:
        return self.y + 0.5 * self.scale


@dataclass(frozen=True)
class Trunk:
    """A tree trunk from the upper edge down to `foot`; at height h above it stands at x + lean * h."""

    x: float
    foot: float
    half_width: float
    lean: float


Thing = Creature | Rock | Trunk


@dataclass(frozen=True)
class Composition:
    """What a scene shows; `things` from far to near, by where they meet the ground."""

    ground: str
    horizon: float
    things: list[Thing]


def compose(rng: Rng, classes: int) -> Composition:
    """Choose what a scene of the first `classes` classes shows, by uniform draws from `rng` alone."""
    labels = _labels(rng, classes)
    goes_with_class = rng.random() < 0.25
    ground = GROUNDS[labels[0] - 1] if goes_with_class else _one_of(rng, GROUNDS)
    horizon = _uniform(rng, 0.12, 0.42)
    creatures: list[Creature] = []
    for label in labels:
        creatures.append(_creature(rng, label, horizon, creatures))
    rocks = [_rock(rng, classes, horizon) for _ in range(_poisson_one(rng))]
    trunks = [_trunk(rng, _one_of(rng, creatures))] if rng.random() < 0.3 else []
    return Composition(ground, horizon, sorted([*creatures, *rocks, *trunks], key=attrgetter("foot")))


def class_hue(label: int) -> float:
    """The hue, 0..1, of the heads of a class and the mean hue of its bodies."""
    return (label - 1) / len(CLASS_NAMES)


def rgb(hue: float, saturation: float, value: float) -> RGB:
    """Convert a colour from HSV, all in 0..1 and the hue modulo 1."""
    sector = 6.0 * (hue % 1.0)
    ramps = abs(sector - 3.0) - 1.0, 2.0 - abs(sector - 2.0), 2.0 - abs(sector - 4.0)
    red, green, blue = (value * (1.0 - saturation + saturation * min(max(ramp, 0.0), 1.0)) for ramp in ramps)
    return red, green, blue


def _labels(rng: Rng, classes: int) -> list[int]:
    """Labels of one to three creatures of one or two classes."""
    first = _integer(rng, classes)
    second = first
    if classes > 1 and rng.random() < 0.6:
        second = (first + 1 + _integer(rng, classes - 1)) % classes
    third = _one_of(rng, (first, second))
    count = 1 + _integer(rng, 3)
    return [1 + index for index in (first, second, third)[:count]]


def _creature(rng: Rng, label: int, horizon: float, others: list[Creature]) -> Creature:
    # Of four places the one farthest from the other creatures, so that they overlap but seldom vanish.
    highest = max(0.28, horizon - 0.02)
    places = [(_uniform(rng, 0.16, 0.84), _uniform(rng, highest, 0.84)) for _ in range(4)]
    x, y = max(places, key=lambda place: min((_squared_distance(place, other) for other in others), default=0.0))
    half_tangent = _uniform(rng, -0.3, 0.3)  # tan of half the slope of the back: up to 33 degrees either way
    norm = 1.0 + half_tangent * half_tangent
    return Creature(
        x=x,
        y=y,
        scale=_uniform(rng, 0.17, 0.27),
        colour=_body_colour(rng, label),
        label=label,
        axis=((1.0 - half_tangent * half_tangent) / norm, 2.0 * half_tangent / norm),
        facing=_one_of(rng, (-1, 1)),
        pattern=_one_of(rng, PATTERNS),
        phase=rng.random(),
        headed=rng.random() < 0.75,
        stride=_uniform(rng, -0.16, 0.16),
        tail=_uniform(rng, -0.1, 0.5),
    )


def _rock(rng: Rng, classes: int, horizon: float) -> Rock:
    return Rock(
        x=rng.random(),
        y=_uniform(rng, horizon + 0.05, 0.95),
        scale=_uniform(rng, 0.06, 0.13),
        colour=_body_colour(rng, 1 + _integer(rng, classes)),
    )


def _trunk(rng: Rng, behind: Creature) -> Trunk:
    return Trunk(
        x=behind.x + _uniform(rng, -0.7, 0.7) * behind.scale,
        foot=behind.foot + _uniform(rng, 0.05, 0.35) * behind.scale,
        half_width=_uniform(rng, 0.03, 0.055),
        lean=_uniform(rng, -0.15, 0.15),
    )


def _body_colour(rng: Rng, label: int) -> RGB:
    """A muted colour whose hue leans towards the class, but is any hue in one case of ten."""
    strays = rng.random() < 0.1
    hue = rng.random() if strays else class_hue(label) + 0.09 * _normal(rng)
    return rgb(hue, _uniform(rng, 0.3, 0.6), _uniform(rng, 0.55, 0.9))


def _squared_distance(place: tuple[float, float], other: Creature) -> float:
    dx, dy = place[0] - other.x, place[1] - other.y
    return dx * dx + dy * dy


def _uniform(rng: Rng, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _integer(rng: Rng, below: int) -> int:
    return int(below * rng.random())


def _one_of(rng: Rng, choices: Sequence[T]) -> T:
    return choices[_integer(rng, len(choices))]


def _normal(rng: Rng) -> float:
    """Nearly standard normal: twelve uniforms have variance 1. By `fsum`, because Pythons differ in `sum`."""
    return math.fsum(rng.random() for _ in range(12)) - 6.0


def _poisson_one(rng: Rng) -> int:
    """Poisson of mean 1: how many uniforms can be multiplied before the product falls below 1/e."""
    count, product = 0, rng.random()
    while product > 0.367879441171:
        count, product = count + 1, product * rng.random()
    return count
