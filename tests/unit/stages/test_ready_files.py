"""Folders of other people's results: what fits reaches the archives unchanged, the rest is named before one appears."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from ssc import archive
from ssc.archive import Archive
from ssc.runtime.errors import InputError
from ssc.stages.ready_files import import_cams, import_pseudo_labels, import_superpixels
from ssc.workflow.settings import CAMs

SIZES = {"a": (32, 48), "b": (29, 35), "c": (20, 24)}  # of the photos of `tiny_set`, height and width
LABELS = {"a": [1, 3], "b": [2], "c": []}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "ready"
    folder.mkdir()
    return folder


def save_png(path, array):
    Image.fromarray(array).save(path)


# Superpixels


@pytest.fixture
def regions(folder):
    """Labels far apart in all three colour channels, under the release's names."""
    rng = np.random.default_rng(0)
    chosen = np.array([7, 300, 65536 * 3 + 1, 2**24 - 1])
    regions = {name: chosen[rng.integers(0, 4, size)] for name, size in SIZES.items()}
    for name, labels in regions.items():
        rgb = np.stack([labels % 256, labels // 256 % 256, labels // 65536], axis=-1)
        save_png(folder / f"{name}.png", rgb.astype(np.uint8))
    return regions


def superpixels(index, folder, output):
    import_superpixels(index=index, shard="1-of-1", folder=folder, output=output)


def test_superpixels_become_compact(tiny_set, folder, regions, tmp_path):
    superpixels(tiny_set, folder, tmp_path / "out.zip")
    written = Archive(tmp_path / "out.zip")
    assert written.ids() == ["a", "b", "c"]
    for name, labels in regions.items():
        rank = {label: n for n, label in enumerate(sorted(set(labels.ravel().tolist())))}
        np.testing.assert_array_equal(
            written.labels(name), [[rank[label] for label in line] for line in labels.tolist()]
        )


def test_shards_part_the_images(tiny_set, folder, regions, tmp_path):
    outputs = [tmp_path / f"{k}.zip" for k in (1, 2)]
    for k, output in enumerate(outputs, start=1):
        import_superpixels(index=tiny_set, shard=f"{k}-of-2", folder=folder, output=output)
    first, second = (Archive(output).ids() for output in outputs)
    assert sorted(first + second) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.unlink(), r"b.png does not exist; the folder that ready.superpixels names"),
        (lambda path: save_png(path, np.zeros((35, 29, 3), np.uint8)), r"b.png is 29x35, its photo .*b.png 35x29"),
        (lambda path: save_png(path, np.zeros((29, 35, 4), np.uint8)), r"b.png has mode RGBA; a superpixel picture is"),
        (lambda path: save_png(path, np.zeros((29, 35, 2), np.uint8)), r"b.png has mode LA"),
        (lambda path: path.write_text("no picture"), r"b.png is no readable picture"),
        (lambda path: path.write_bytes(path.read_bytes()[:-60]), r"b.png is no readable picture"),
    ],
)
def test_superpixels_that_do_not_fit_are_named(tiny_set, folder, regions, tmp_path, change, sentence):
    change(folder / "b.png")
    with pytest.raises(InputError, match=sentence):
        superpixels(tiny_set, folder, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_more_superpixels_than_an_archive_can_hold(tiny_set, folder, regions, tmp_path):
    labels = np.arange(257 * 256).reshape(257, 256)
    rgb = np.stack([labels % 256, labels // 256 % 256, labels // 65536], axis=-1).astype(np.uint8)
    save_png(folder / "c.png", rgb)
    save_png(tiny_set.with_name("c.png"), rgb)  # the photo
    with pytest.raises(InputError, match=r"c.png has 65792 superpixels"):
        superpixels(tiny_set, folder, tmp_path / "out.zip")


# CAMs


@pytest.fixture
def cams(folder):
    """CAMs as float32, the classes of the first in descending order."""
    rng = np.random.default_rng(0)
    maps = {}
    for name, (height, width) in SIZES.items():
        shape = (len(LABELS[name]), (height + 3) // 4, (width + 3) // 4)
        maps[name] = rng.random(shape, np.float32)
        np.savez(folder / f"{name}.npz", classes=LABELS[name][::-1], cams=maps[name][::-1])
    return maps


def extract(index, folder, output, **settings):
    import_cams(index=index, shard="1-of-1", folder=folder, output=output, settings=CAMs(**settings))


def test_cams_are_those_of_the_folder(tiny_set, folder, cams, tmp_path):
    extract(tiny_set, folder, tmp_path / "out.zip")
    written = Archive(tmp_path / "out.zip")
    assert written.ids() == ["a", "b", "c"]
    for name, expected in cams.items():
        classes, maps = written.cams(name)
        assert classes.tolist() == LABELS[name]
        np.testing.assert_array_equal(maps, expected.astype(np.float16))
        stored = written.arrays(name)
        assert stored["classes"].dtype == np.int16 and stored["cams"].dtype == np.float16


def test_a_photo_without_labels_needs_no_file_and_no_size(tiny_set, folder, cams, tmp_path):
    extract(tiny_set, folder, tmp_path / "out.zip", stride=1)
    (folder / "c.npz").unlink()
    extract(tiny_set, folder, tmp_path / "without.zip", stride=1)
    empty = np.zeros((0, 0, 0), np.float32)
    np.savez(folder / "c.npz", classes=np.zeros(0, np.int16), cams=empty, high_res=empty)
    extract(tiny_set, folder, tmp_path / "again.zip", stride=1)
    written = [(tmp_path / f"{name}.zip").read_bytes() for name in ("out", "without", "again")]
    assert written[0] == written[1] == written[2]
    np.savez(folder / "c.npz", classes=np.array([2]), cams=np.zeros((1, 5, 6)))
    with pytest.raises(InputError, match=r"c.npz holds classes \[2\], the image's labels are \[\]"):
        extract(tiny_set, folder, tmp_path / "wrong.zip")


def test_own_archives_unpack_into_such_a_folder(tiny_set, folder, cams, tmp_path):
    extract(tiny_set, folder, tmp_path / "out.zip")
    written = Archive(tmp_path / "out.zip")
    for name in SIZES:
        (folder / f"{name}.npz").write_bytes(written.read_bytes(f"{name}.npz"))
    extract(tiny_set, folder, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "out.zip").read_bytes()


def test_maps_at_the_size_of_the_photo_are_taken_along_if_they_are_asked_for(tiny_set, folder, cams, tmp_path):
    rng = np.random.default_rng(1)
    for name, (height, width) in SIZES.items():
        full = rng.random((len(LABELS[name]), height, width), np.float32)
        arrays = {"classes": LABELS[name][::-1], "cams": cams[name][::-1]}
        if name == "a":
            arrays["high_res"] = full[::-1]
        elif name == "b":  # of another run
            arrays["scale_0"], arrays["scale_1"] = 2 * full[:, ::16, ::16], full[:, ::9, ::9]  # one alone may exceed 1
        np.savez(folder / f"{name}.npz", **arrays)
        if name == "a":
            expected = full
    extract(tiny_set, folder, tmp_path / "out.zip", stride=1, dtype="float32")
    found = Archive(tmp_path / "out.zip")
    np.testing.assert_array_equal(found.arrays("a")["high_res"], expected)
    assert sorted(found.arrays("b")) == ["cams", "classes", "scale_0", "scale_1"]
    assert sorted(found.arrays("c")) == ["cams", "classes"]
    for wrong in (np.full((1, 2, 3), -0.1), np.zeros((2, 3)), np.zeros((2, 2, 3)), np.full((1, 2, 3), np.nan)):
        kept = {name: found.arrays("b")[name] for name in ("classes", "cams")}
        np.savez(folder / "b.npz", **kept, scale_0=wrong)
        with pytest.raises(InputError, match=r"b\.npz: scale_0 must hold a map >= 0 for each class"):
            extract(tiny_set, folder, tmp_path / "out.zip", stride=1)
    extract(tiny_set, folder, tmp_path / "out.zip", stride=4)
    assert all(sorted(Archive(tmp_path / "out.zip").arrays(name)) == ["cams", "classes"] for name in SIZES)
    rewrite(high_res=np.zeros((2, 31, 48), np.float32))(folder / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz: high_res has shape \(2, 31, 48\), its photo .* needs \(2, 32, 48\)"):
        extract(tiny_set, folder, tmp_path / "out.zip", stride=1)


def rewrite(**arrays):
    """Change of a file to other arrays; those that are not given stay right for image `a`."""
    right = {"classes": np.array([1, 3]), "cams": np.full((2, 8, 12), 0.5, np.float32)}
    kept = {key: value for key, value in (right | arrays).items() if value is not None}
    return lambda path: np.savez(path, **kept)


def pickled(path):
    with path.open("wb") as handle:
        np.save(handle, np.array({"classes": 1}, dtype=object))


def bare(path):
    with path.open("wb") as handle:
        np.save(handle, np.zeros(3))


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.unlink(), "a.npz does not exist; the folder that ready.cams names"),
        (rewrite(classes=np.array([1, 2])), r"a.npz holds classes \[1, 2\], the image's labels are \[1, 3\]"),
        (rewrite(classes=np.array([0, 2])), r"a.npz holds classes \[0, 2\]"),
        (rewrite(classes=np.array([1, 3, 3]), cams=np.zeros((3, 8, 12))), r"a.npz holds classes \[1, 3, 3\]"),
        (rewrite(classes=np.array([[1, 3]])), r"a.npz holds classes \[\[1, 3\]\]"),
        (rewrite(classes=np.array(1)), "a.npz holds classes 1,"),
        (
            rewrite(cams=np.zeros((2, 12, 8))),
            r"a.npz: cams has shape \(2, 12, 8\), its photo .*a.png needs \(2, 8, 12\)",
        ),
        (rewrite(cams=np.zeros((1, 8, 12))), r"a.npz: cams has shape \(1, 8, 12\)"),
        (rewrite(cams=np.full((2, 8, 12), 1.01)), "a.npz: cams must hold floats in 0..1"),
        (rewrite(cams=np.full((2, 8, 12), np.nan)), "a.npz: cams must hold floats in 0..1"),
        (rewrite(cams=np.full((2, 8, 12), "x")), "a.npz: cams must hold floats in 0..1"),
        (rewrite(cams=None), "a.npz lacks cams; it needs classes and cams"),
        (rewrite(classes=np.array([{}], dtype=object)), "a.npz is no readable archive of arrays"),
        (pickled, "a.npz is no readable archive of arrays"),
        (bare, "a.npz is no readable archive of arrays"),
        (flip_a_byte, "a.npz is no readable archive of arrays"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "a.npz is no readable archive of arrays"),
        (lambda path: path.write_bytes(b""), "a.npz is no readable archive of arrays"),
    ],
)
def test_cams_that_do_not_fit_are_named(tiny_set, folder, cams, tmp_path, change, sentence):
    change(folder / "a.npz")
    with pytest.raises(InputError, match=sentence):
        extract(tiny_set, folder, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


# Pseudo-labels


@pytest.fixture
def labels(folder):
    rng = np.random.default_rng(0)
    labels = {name: np.array([0, 1, 2, 3, 255], np.uint8)[rng.integers(0, 5, size)] for name, size in SIZES.items()}
    for name, array in labels.items():
        save_png(folder / f"{name}.png", array)
    return labels


def pseudo_labels(index, folder, tmp_path):
    outputs = {"output": tmp_path / "labels.zip", "confidence": tmp_path / "confidence.zip"}
    import_pseudo_labels(index=index, shard="1-of-1", folder=folder, **outputs)


def resorted(path):
    """Class 2, saved by a program that keeps the colours and numbers them anew."""
    image = Image.frombytes("P", (35, 29), bytes(500) + b"\1" * 515)
    image.putpalette([0, 0, 0, 0, 128, 0])
    image.save(path)


def test_pseudo_labels_are_those_of_the_folder(tiny_set, folder, labels, tmp_path):
    pseudo_labels(tiny_set, folder, tmp_path)
    written, confidence = Archive(tmp_path / "labels.zip"), Archive(tmp_path / "confidence.zip")
    assert written.ids() == confidence.ids() == ["a", "b", "c"]
    for name, expected in labels.items():
        np.testing.assert_array_equal(written.labels(name), expected)
        np.testing.assert_array_equal(confidence.labels(name), np.where(expected == 255, 0, 1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.unlink(), "b.png does not exist; the folder that ready.pseudo_labels names"),
        (lambda path: save_png(path, np.zeros((29, 36), np.uint8)), "b.png is 36x29, its photo .*b.png 35x29"),
        (lambda path: save_png(path, np.full((29, 35), 4, np.uint8)), "b.png holds the label 4; use 0..3 and 255"),
        (lambda path: save_png(path, np.ones((29, 35, 3), np.uint8)), "b.png has the colour #010101"),
        (resorted, "b.png has a palette in another order than VOC's"),
    ],
)
def test_pseudo_labels_that_do_not_fit_are_named(tiny_set, folder, labels, tmp_path, change, sentence):
    change(folder / "b.png")
    with pytest.raises(InputError, match=sentence):
        pseudo_labels(tiny_set, folder, tmp_path)
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.parametrize("count", [40, 300])
def test_superpixels_of_another_runs_archive(tiny_set, tmp_path, count):
    rng = np.random.default_rng(0)
    maps = {name: rng.integers(0, count, size) for name, size in SIZES.items()}
    maps = {name: np.unique(labels, return_inverse=True)[1].reshape(labels.shape) for name, labels in maps.items()}
    with archive.write(tmp_path / "other.zip") as out:
        for name, labels in maps.items():
            out.add_labels(name, labels)
    zipfile.ZipFile(tmp_path / "other.zip").extractall(tmp_path / "other")
    import_superpixels(index=tiny_set, shard="1-of-1", folder=tmp_path / "other", output=tmp_path / "own.zip")
    for name, labels in maps.items():
        np.testing.assert_array_equal(Archive(tmp_path / "own.zip").labels(name), labels)
