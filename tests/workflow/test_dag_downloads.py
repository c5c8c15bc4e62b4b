"""Presets that download: archives of the real layouts, with a few images, from a folder that stands for the servers."""

import hashlib
import json
import re
import tarfile
import zipfile

import pytest
from PIL import Image

from ssc.data.index import read_index
from ssc.data.releases import RELEASES
from ssc.data.voc import VOC_CLASSES
from tests.faults.snakemake import ROOT, Place, jobs

SIDE = 16  # of a photo and its mask
XML = "<annotation><object><name>dog</name></object></annotation>"
VOC = {
    "ImageSets/Segmentation/train.txt": "2007_1\n",
    "ImageSets/Segmentation/val.txt": "2007_2\n",
    **{f"Annotations/{name}.xml": XML for name in ("2007_1", "2007_2", "2008_3")},
    **{f"JPEGImages/{name}.jpg": "" for name in ("2007_1", "2007_2", "2008_3")},
    **{f"SegmentationClass/{name}.png": "" for name in ("2007_1", "2007_2")},
}
SBD = {"train.txt": "2007_2\n2008_3\n", "val.txt": "2007_1\n", "img/2008_3.jpg": "", "cls/2008_3.mat": ""}


def instances(split):
    return json.dumps({
        "images": [{"id": 7, "file_name": f"COCO_{split}_7.jpg", "height": SIDE, "width": SIDE}],
        "annotations": [{"image_id": 7, "category_id": 90, "iscrowd": 0, "segmentation": [[0, 0, 4, 0, 4, 4]]}],
        "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
    })  # fmt: skip


def picture(path):
    """Write a photo, or a mask that is a dog, as the labels say."""
    photo = path.suffix == ".jpg"
    Image.new("RGB" if photo else "L", (SIDE, SIDE), 0 if photo else VOC_CLASSES.index("dog") + 1).save(path)


ARCHIVES = {
    "voc2012": {f"VOCdevkit/VOC2012/{name}": text for name, text in VOC.items()},
    "sbd": {f"benchmark_RELEASE/dataset/{name}": text for name, text in SBD.items()},
    "coco2014_train": {"train2014/COCO_train2014_7.jpg": ""},
    "coco2014_val": {"val2014/COCO_val2014_7.jpg": ""},
    "coco2014_annotations": {
        f"annotations/instances_{split}.json": instances(split) for split in ("train2014", "val2014")
    },
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A folder with the archives under their makers' names."""
    folder = tmp_path_factory.mktemp("mirror")
    source = tmp_path_factory.mktemp("source")
    for release, files in ARCHIVES.items():
        path = folder / RELEASES[release].url.rsplit("/", 1)[1]
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith((".jpg", ".png")):
                picture(source / name)
            else:
                (source / name).write_text(text)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name in files:
                    archive.write(source / name, name)
        else:
            with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
                archive.add(source / next(iter(files)).split("/")[0], next(iter(files)).split("/")[0])
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory, mirror):
    """The project with the checksums of the small archives."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("config", "config.yaml", "envs", "report", "rules", "workflow_scripts"):
        (folder / name).symlink_to(ROOT / name)
    patch = "from ssc.data.releases import RELEASES, Release\n"
    for release, published in RELEASES.items():
        digits = hashlib.md5((mirror / published.url.rsplit("/", 1)[1]).read_bytes()).hexdigest()
        patch += f"RELEASES[{release!r}] = Release({published.url!r}, 'md5:{digits}')\n"
    (folder / "Snakefile").write_text(patch + (ROOT / "Snakefile").read_text())
    return folder


def snakemake(project, folder, preset, *, dataset):
    place = Place(folder, project, ROOT / "config" / f"{preset}.yaml")
    return place.run(f"results/{preset}/index.tsv", "--config", f"dataset={dataset}")


@pytest.mark.parametrize(
    ("preset", "releases", "rows"),
    [
        (
            "voc12",
            ["sbd", "voc2012"],
            [("2007_1", "train", (12,)), ("2008_3", "train", (12,)), ("2007_2", "val", (12,))],
        ),
        (
            "coco14",
            ["coco2014_annotations", "coco2014_train", "coco2014_val"],
            [("COCO_train2014_7", "train", (2,)), ("COCO_val2014_7", "val", (2,))],
        ),
    ],
)
def test_a_preset_fetches_unpacks_and_indexes_its_data_once(project, mirror, tmp_path, preset, releases, rows):
    dataset = {"mirror": mirror.as_uri()}
    status, output = snakemake(project, tmp_path, preset, dataset=dataset)
    assert status == 0, output[-3000:]
    index = read_index(tmp_path / "results" / preset / "index.tsv")
    assert [(row.id, row.split, row.labels) for row in index.rows] == rows
    assert all((tmp_path / path).is_file() for row in index.rows for path in (row.image, row.mask) if path)
    assert sorted(path.name for path in (tmp_path / "resources" / "data").iterdir()) == releases
    assert all(path.name.startswith(".") for path in tmp_path.glob("resources/archives/*"))
    assert (tmp_path / "results" / "logs" / "unpack_archive" / f"{releases[0]}.log").read_text()
    # Nothing is fetched again, also not when the mirror is gone or another.
    _, output = snakemake(project, tmp_path, preset, dataset={"mirror": "https://nowhere.invalid"})
    assert "Nothing to be done" in output
    # The segmentation starts from torchvision's second weights, as both presets say.
    place = Place(tmp_path, project, ROOT / "config" / f"{preset}.yaml")
    own = f"results/{preset}/ssc/segmentation.safetensors"
    (job,) = [job for job in jobs(place.succeed(own, "--dry-run")) if job.rule == "train_segmentation"]
    assert "resources/weights/resnet101_v2.safetensors" in job.reason


def test_nothing_is_fetched_for_data_that_is_named(project, mirror, tmp_path):
    for release in ("voc2012", "sbd"):
        with tarfile.open(mirror / RELEASES[release].url.rsplit("/", 1)[1]) as archive:
            archive.extractall(tmp_path / "mine", filter="data")
    dataset = {"root": "mine", "sbd": "mine/benchmark_RELEASE"}
    status, output = snakemake(project, tmp_path, "voc12", dataset=dataset)
    assert status == 0, output[-3000:]
    assert len(read_index(tmp_path / "results" / "voc12" / "index.tsv").rows) == 3
    assert not (tmp_path / "resources").exists()


def test_a_wrong_checksum_is_told_and_leaves_no_file(mirror, tmp_path):
    """The project's own checksums are not those of the small archives."""
    status, output = snakemake(ROOT, tmp_path, "voc12", dataset={"sbd": "None", "mirror": mirror.as_uri()})
    assert status != 0
    published = RELEASES["voc2012"].checksum.split(":")[1]
    assert re.search(rf"VOCtrainval_11-May-2012\.tar: MD5 starts with \w+, not {published}; the download is", output)
    assert "Traceback" not in output
    assert [path for path in (tmp_path / "resources").rglob("*") if path.is_file()] == []
