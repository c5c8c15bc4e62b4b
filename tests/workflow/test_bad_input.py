"""Bad inputs and odd names as the workflow meets them: refused with a message or carried; nothing lost or executed."""

import csv
import hashlib

import numpy as np
import pytest
import yaml
from PIL import Image

from ssc.archive import Archive
from ssc.data.index import read_index
from tests.faults.bad_inputs import CASES, NAME, base, data, save, write_photos
from tests.faults.snakemake import ROOT, Place

ODD = ["a b", "-rf", "'quoted' \"twice\"", "\u00fcber", "u\u0308ber", "犬", "$(touch x)", "`touch x`", "a;touch x",
    "a|b&c>x", "*?[a]", "%s {x}", "sub dir/$HOME"]  # fmt: skip


def write_config(path, config):
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return ["--configfile", base(path.parent, config), path]


def contents(folder):
    """Digest of every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run to the seeds, on photos, classes and a folder whose names a shell would take for commands.

    The photos are larger than they may be, and shrunk.
    """
    folder = tmp_path_factory.mktemp("a run")
    photos = folder / "my photos; touch x"
    rng = np.random.default_rng(0)
    rows = [("image", "labels", "split")]
    for number, name in enumerate(ODD):
        for part, pixels in (("images", (48, 48, 3)), ("masks", (48, 48))):
            (photos / part / name).parent.mkdir(parents=True, exist_ok=True)
            save(photos / part / f"{name}.png", rng.integers(0, 3, pixels, np.uint8))
        rows.append((f"{name}.png", ("$(touch x)", "dog's")[number % 2], "train" if number else "val"))
    with (photos / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows(rows)
    config = {
        "dataset": {"name": "odd", "kind": "folder", "root": photos.name, "masks": "masks", "max_side": 40},
        "classifier": {"epochs": 1, "weights": "none", "cdr": {"enabled": False}},
    }
    Place(folder).succeed("seeds", *write_config(folder / "odd.yaml", config))
    return folder


def test_odd_names_are_carried_and_nothing_is_executed(run):
    results = run / "results" / "odd"
    index = read_index(results / "index.tsv")
    assert sorted(row.id for row in index.rows) == sorted(ODD)
    trained = sorted(row.id for row in index.split("train"))
    for kind in ("superpixels", "ssc/cams"):
        assert Archive(*sorted((results / kind).glob("*.zip"))).ids() == trained
    for kind in ("superpixels", "masks/train"):
        archive = Archive(*sorted((results / kind).glob("*.zip")))
        assert {archive.labels(name).shape for name in archive.ids()} == {(40, 40)}
    assert index.classes == ["$(touch x)", "dog's"]
    assert not list(run.rglob("x")) and not (ROOT / "x").exists()


# One or two of each place that refuses: Snakemake, the Snakefile, the index. All others are tests of tests/faults.
CHOSEN = [
    "unknown key of an experiment",
    "weights that are absent",
    "repeated key",
    "empty configuration",
    "code in the configuration",
    "line break in a name",
    "several bad photos",
]


@pytest.mark.parametrize("case", [case for case in CASES if case.name in CHOSEN], ids=lambda case: case.name)
def test_bad_input_is_told_and_nothing_is_lost(run, case):
    before = contents(run / "results" / "odd")
    status, output = Place(run).run(*case.prepare(run))
    assert status != 0
    assert case.message in output and "Traceback" not in output
    assert contents(run / "results" / "odd") == before
    assert all(name.startswith("logs/") for name in contents(run / "results" / NAME))
    assert not (run / "results" / "tiny").exists()
    assert not list(run.rglob("x")) and not (ROOT / "x").exists()


def test_a_photo_that_only_the_decoder_finds_bad_stops_its_shard_alone(tmp_path):
    write_photos(tmp_path / "photos")
    photo = tmp_path / "photos" / "images" / "a.jpg"
    content = bytearray(photo.read_bytes())
    middle = (content.index(b"\xff\xda") + len(content)) // 2
    content[middle : middle + 2] = b"\xff\xc8"  # a mark that no JPEG has
    photo.write_bytes(content)
    config = write_config(tmp_path / "mine.yaml", data())
    archives = [f"results/{NAME}/superpixels/{shard}-of-2.zip" for shard in (1, 2)]
    status, output = Place(tmp_path).run(*archives, *config, "--keep-going")
    assert status != 0
    assert "The image photos/images/a.jpg cannot be read (broken data stream" in output
    assert "Traceback" not in output
    index = read_index(tmp_path / "results" / NAME / "index.tsv")
    (bad,) = [k for k in (1, 2) if "a" in {row.id for row in index.shard("train", f"{k}-of-2")}]
    made = [tmp_path / archive for archive in archives if (tmp_path / archive).exists()]
    assert [path.name for path in made] == [f"{3 - bad}-of-2.zip"]
    assert Archive(*made).ids() == [row.id for row in index.shard("train", f"{3 - bad}-of-2")]
    # The photo is replaced: what was made is not made again.
    before = made[0].read_bytes()
    save(photo, np.zeros((36, 48, 3), np.uint8))
    Place(tmp_path).succeed(*archives, *config)
    with Image.open(photo) as image:
        assert Archive(tmp_path / archives[bad - 1]).labels("a").shape == image.size[::-1]
    assert made[0].read_bytes() == before
