import colorsys
import csv
import hashlib
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssc.constants import voc_palette
from ssc.data import demo
from ssc.data.demo import drawing
from ssc.data.demo.creatures import (
    CLASS_NAMES,
    GROUNDS,
    PATTERNS,
    Composition,
    Creature,
    Rock,
    Trunk,
    class_hue,
    compose,
    rgb,
)
from ssc.runtime.errors import InputError

SMALL = {"train": 3, "val": 2, "size": 40, "classes": 4, "seed": 5}


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new" / "creatures"
    demo.generate(out, **SMALL)
    return out


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- scenes


def test_pixels_are_pinned():
    """A change here needs a new `VERSION`: results on the demo are no longer comparable."""
    digest = hashlib.sha256()
    for index in range(12):
        image, mask = demo.scene(index, size=96, classes=4, seed=0)
        digest.update(image.tobytes() + mask.tobytes())
    assert (demo.VERSION, digest.hexdigest()) == (
        1,
        "45455b44ad35347b1ac69fc0a51df7795963a4e2be76bf69d8e637f9d9ce477d",
    )


@settings(max_examples=25, deadline=None)
@given(
    index=st.integers(0, 10**9),
    size=st.integers(32, 70),
    classes=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_scene_invariants(index, size, classes, seed):
    image, mask = demo.scene(index, size=size, classes=classes, seed=seed)
    assert (image.dtype, image.shape) == (np.uint8, (size, size, 3))
    assert (mask.dtype, mask.shape) == (np.uint8, (size, size))
    assert mask.max() <= classes
    shares = np.bincount(mask.ravel(), minlength=classes + 1) / mask.size
    visible = shares[1:][shares[1:] > 0]
    assert 1 <= len(visible) <= 2
    assert visible.min() >= demo.MIN_VISIBLE
    assert shares[0] > 0.2


@pytest.mark.parametrize("change", [{"index": 8}, {"seed": 1}])
def test_scenes_differ(change):
    arguments = {"index": 7, "size": 48, "classes": 4, "seed": 0}
    image, _ = demo.scene(**arguments)
    other, _ = demo.scene(**arguments | change)
    assert np.mean(image != other) > 0.9


def test_every_class_of_a_composition_is_visible(monkeypatch):
    """The first attempt is hidden behind a rock as large as the scene; the scene must be another."""
    attempts = []

    def hidden_at_first(generator, classes):
        composition = compose(generator, classes)
        attempts.append(composition)
        wall = Rock(x=0.5, y=0.5, scale=9.0, colour=(0.0, 0.0, 0.0))
        return replace(composition, things=[*composition.things, wall]) if len(attempts) == 1 else composition

    monkeypatch.setattr(demo, "compose", hidden_at_first)
    _, mask = demo.scene(0, size=48)
    assert len(attempts) >= 2
    assert set(np.unique(mask)) - {0} == {thing.label for thing in attempts[-1].things if isinstance(thing, Creature)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": 31}, "at least 32 pixels, not 31"),
        ({"classes": 0}, "1 to 4 classes, not 0"),
        ({"classes": 5}, "1 to 4 classes, not 5"),
        ({"seed": -1}, "0 or more, not -1"),
        ({"index": -1}, "from 0, not -1"),
    ],
)
def test_scene_refuses(change, told):
    with pytest.raises(InputError, match=told):
        demo.scene(**{"index": 0, "size": 96, "classes": 4, "seed": 0} | change)


# --- composition


def test_compositions_follow_the_recipe():
    n = 4000
    scenes = [compose(rng(seed), 4) for seed in range(n)]
    creatures = [[thing for thing in scene.things if isinstance(thing, Creature)] for scene in scenes]
    everyone = [creature for group in creatures for creature in group]

    def share(values, expected, within=4):
        values = list(values)
        deviation = math.sqrt(expected * (1 - expected) / len(values))
        assert abs(np.mean(values) - expected) < within * deviation

    for count in (1, 2, 3):
        share((len(group) == count for group in creatures), 1 / 3)
    assert {len({creature.label for creature in group}) for group in creatures} == {1, 2}
    for label in range(1, 5):
        labels = Counter(creature.label for creature in everyone)
        assert labels[label] / len(everyone) == pytest.approx(0.25, abs=0.03)
    for pattern in PATTERNS:
        share((creature.pattern == pattern for creature in everyone), 1 / 3)
    share((creature.headed for creature in everyone), 0.75)
    share((any(isinstance(thing, Trunk) for thing in scene.things) for scene in scenes), 0.3)
    rocks = [sum(isinstance(thing, Rock) for thing in scene.things) for scene in scenes]
    for count in range(5):
        share((number == count for number in rocks), math.exp(-1) / math.factorial(count))

    # One creature, hence one class: its ground is the class's own by rule (1/4) or by chance (3/4 of 1/5).
    alone = [(scene.ground, group[0].label) for scene, group in zip(scenes, creatures, strict=True) if len(group) == 1]
    share((ground == GROUNDS[label - 1] for ground, label in alone), 0.25 + 0.75 / 5)
    share((ground == GROUNDS[-1] for ground, _ in alone), 0.75 / 5)

    lean = []
    for creature in everyone:
        assert 0.17 <= creature.scale <= 0.27
        assert math.hypot(*creature.axis) == pytest.approx(1)
        hue, _, _ = colorsys.rgb_to_hsv(*creature.colour)
        lean.append((hue - class_hue(creature.label) + 0.5) % 1 - 0.5)
    share((abs(value) < 0.09 for value in lean), 0.9 * 0.6827 + 0.1 * 0.18)
    share((abs(value) > 0.25 for value in lean), 0.9 * 0.0055 + 0.1 * 0.5)
    assert abs(np.mean(lean)) < 0.01


def test_things_stand_from_far_to_near():
    for seed in range(50):
        feet = [thing.foot for thing in compose(rng(seed), 4).things]
        assert feet == sorted(feet)


@given(hue=st.floats(-2, 2), saturation=st.floats(0, 1), value=st.floats(0, 1))
def test_rgb(hue, saturation, value):
    assert rgb(hue, saturation, value) == pytest.approx(colorsys.hsv_to_rgb(hue % 1, saturation, value), abs=1e-9)


# --- drawing

CREATURE = Creature(
    x=0.5,
    y=0.5,
    scale=0.25,
    colour=(0.5, 0.5, 0.5),
    label=1,
    axis=(1.0, 0.0),
    facing=1,
    pattern="plain",
    phase=0.0,
    headed=True,
    stride=0.0,
    tail=0.5,
)


def draw(*things, size=160):
    return drawing.draw(rng(), Composition("slate", 0.2, list(things)), size)


def mask_of(*things):
    return draw(*things)[1]


@given(st.integers(0, 2**32))
def test_halve_labels_is_a_majority(seed):
    fine = rng(seed).choice(np.array([0, 1, 3], np.uint8), (10, 14))
    halved = drawing.halve_labels(fine)
    assert (halved.dtype, halved.shape) == (np.uint8, (5, 7))
    for row in range(5):
        for column in range(7):
            votes = Counter(fine[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel().tolist())
            if votes[0] > 2:
                expected = {0}
            else:
                most = max(votes[1], votes[3])
                expected = {label for label in (1, 3) if votes[label] == most}
            assert halved[row, column] in expected


@pytest.mark.parametrize("label", [1, 2, 3, 4])
def test_heads_take_an_eighth_to_a_fifth(label):
    whole = mask_of(replace(CREATURE, label=label))
    assert set(np.unique(whole)) == {0, label}
    body = mask_of(replace(CREATURE, label=label, headed=False))
    v, u = (0.5 - np.mgrid[:400, :400]) / 100 + 2
    head = drawing.HEADS[label - 1](-u, v).mean() * 16
    assert head == pytest.approx(2.5, abs=0.2)
    area = head * 0.36**2 * (CREATURE.scale * 160) ** 2
    assert 1 / 8 < area / np.count_nonzero(whole) < 1 / 5
    assert not np.any((body > 0) & (whole == 0))


def test_heads_differ_in_shape():
    v, u = (0.5 - np.mgrid[:200, :200]) / 50 + 2
    heads = [head(u, v) for head in drawing.HEADS]
    for first in range(4):
        for second in range(first):
            both = np.sum(heads[first] & heads[second]) / np.sum(heads[first] | heads[second])
            assert both < 0.87


@settings(max_examples=25, deadline=None)
@given(
    half_tangent=st.floats(-0.3, 0.3),
    facing=st.sampled_from([-1, 1]),
    label=st.integers(1, 4),
    tail=st.floats(-0.1, 0.5),
)
def test_creatures_fit_their_window(half_tangent, facing, label, tail):
    norm = 1 + half_tangent**2
    axis = ((1 - half_tangent**2) / norm, 2 * half_tangent / norm)
    creature = replace(CREATURE, axis=axis, facing=facing, label=label, tail=tail)
    window = drawing.Canvas.window
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing.Canvas, "window", lambda canvas, x, y, reach: window(canvas, x, y, 9.0))
        unclipped = draw(creature, size=80)
    for drawn, expected in zip(draw(creature, size=80), unclipped, strict=True):
        assert np.array_equal(drawn, expected)


def test_facing_mirrors():
    left, right = (mask_of(replace(CREATURE, facing=facing)) for facing in (-1, 1))
    assert np.mean(left != right[:, ::-1]) < 0.001


def test_near_creatures_hide_far_ones_but_their_shadows_do_not():
    far, near = replace(CREATURE, y=0.4, label=1), replace(CREATURE, x=0.4, y=0.45, label=2)
    alone_far, alone_near, both = mask_of(far), mask_of(near), mask_of(far, near)
    assert np.all(both[alone_near > 0] > 0)
    assert np.mean(both[alone_near > 0] == 2) > 0.98
    # The shadow of the near one falls on the legs of the far one and leaves their label.
    assert np.array_equal(both[alone_near == 0] == 1, alone_far[alone_near == 0] == 1)


@pytest.mark.parametrize(
    "cover",
    [
        Rock(x=0.5, y=0.5, scale=0.2, colour=(0.5, 0.5, 0.5)),
        Trunk(x=0.5, foot=0.9, half_width=0.05, lean=0.0),
    ],
)
def test_rocks_and_trunks_are_background(cover):
    alone, covered = mask_of(CREATURE), mask_of(CREATURE, cover)
    assert alone[80, 80] == 1
    assert covered[80, 80] == 0
    assert 0 < np.count_nonzero(covered) < np.count_nonzero(alone)
    assert set(np.unique(mask_of(cover))) == {0}


# --- the folder


def test_layout(folder):
    images = [f"train_{number:04d}.png" for number in range(3)] + [f"val_{number:04d}.png" for number in range(2)]
    assert sorted(contents(folder)) == sorted(
        [
            "classes.txt",
            "demo.json",
            "labels.csv",
            *(f"{part}/{name}" for part in ("images", "masks") for name in images),
        ]
    )
    assert (folder / "classes.txt").read_text() == "orbi\nquado\ntrixi\nastra\n"
    assert json.loads((folder / "demo.json").read_text()) == {"version": demo.VERSION, **SMALL}
    with (folder / "labels.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["image", "labels", "split"]
    assert [row["image"] for row in rows] == images
    assert [row["split"] for row in rows] == ["train"] * 3 + ["val"] * 2
    for row in rows:
        with Image.open(folder / "images" / row["image"]) as image:
            assert (image.mode, image.size) == ("RGB", (40, 40))
        with Image.open(folder / "masks" / row["image"]) as mask:
            assert (mask.mode, mask.size) == ("P", (40, 40))
            assert mask.getpalette()[:15] == voc_palette()[:15]
            visible = set(np.unique(np.array(mask)).tolist()) - {0}
        assert {1 + CLASS_NAMES.index(name) for name in row["labels"].split(";")} == visible


def test_files_hold_the_scenes(folder):
    """The splits take even and odd indices, whatever their lengths."""
    for name, index in {"train_0000": 0, "train_0002": 4, "val_0000": 1, "val_0001": 3}.items():
        image, mask = demo.scene(index, size=40, classes=4, seed=5)
        assert np.array_equal(np.array(Image.open(folder / "images" / f"{name}.png")), image)
        assert np.array_equal(np.array(Image.open(folder / "masks" / f"{name}.png")), mask)


def test_threads_change_nothing(tmp_path, folder):
    demo.generate(tmp_path / "demo", **SMALL, threads=3)
    assert contents(tmp_path / "demo") == contents(folder)


def test_fewer_classes(tmp_path):
    demo.generate(tmp_path / "demo", train=4, val=1, size=32, classes=1)
    assert (tmp_path / "demo" / "classes.txt").read_text() == "orbi\n"
    assert (tmp_path / "demo" / "labels.csv").read_text().splitlines()[1] == "train_0000.png,orbi,train"


def test_replaces_a_demo(tmp_path, folder):
    out = tmp_path / "demo"
    demo.generate(out, train=5, val=1, size=32)
    demo.generate(out, **SMALL)
    assert contents(out) == contents(folder)
    assert list(tmp_path.iterdir()) == [out]


def test_fills_empty_folders(tmp_path):
    (tmp_path / "demo" / "images").mkdir(parents=True)
    demo.generate(tmp_path / "demo", train=1, val=1, size=32)
    assert (tmp_path / "demo" / "labels.csv").is_file()


def test_failure_leaves_the_old_demo(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    demo.generate(out, train=1, val=1, size=32)
    before = contents(out)

    def fails(index, **arguments):
        raise MemoryError(index)

    monkeypatch.setattr(demo, "scene", fails)
    with pytest.raises(MemoryError):
        demo.generate(out, train=1, val=1, size=32)
    assert contents(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_failure_at_the_last_step_puts_the_old_demo_back(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    demo.generate(out, train=1, val=1, size=32)
    before = contents(out)
    rename = Path.rename

    def refuses_the_new_one(path, target):
        if path.name.endswith(".partial"):
            raise PermissionError(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuses_the_new_one)
    with pytest.raises(PermissionError):
        demo.generate(out, train=2, val=1, size=32)
    assert contents(out) == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["photos", "file"])
def test_never_replaces_other_files(tmp_path, name):
    (tmp_path / "photos" / "images").mkdir(parents=True)
    (tmp_path / "photos" / "images" / "cat.png").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="holds other files than a demo data set"):
        demo.generate(tmp_path / name, train=1, val=1, size=32)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("change", [{"train": 0}, {"val": 0}, {"size": 16}, {"classes": 9}])
def test_generate_refuses(tmp_path, change):
    with pytest.raises(InputError):
        demo.generate(tmp_path / "demo", **SMALL | change)
    assert list(tmp_path.iterdir()) == []
