"""What can be downloaded, and what the word `download` stands for."""

import re

import pytest

from ssc.data.releases import DOWNLOADS, RELEASES, archive_url, located, release_folders

ALL = {key: None for places in DOWNLOADS.values() for key in places}
VOC = {**ALL, "name": "voc12", "kind": "voc", "mirror": None}
COCO = {**ALL, "name": "coco14", "kind": "coco", "mirror": None}


def test_every_release_has_an_address_and_a_whole_checksum_and_is_used():
    for release in RELEASES.values():
        assert re.fullmatch(r"https?://[a-z0-9.]+/\S+\.(tar|tgz|zip)", release.url)
        assert re.fullmatch(r"md5:[0-9a-f]{32}", release.checksum)
    assert {release for places in DOWNLOADS.values() for release, _ in places.values()} == set(RELEASES)
    assert len({archive_url(name, mirror="m") for name in RELEASES}) == len(RELEASES)


@pytest.mark.parametrize("mirror", ["file:///disk/archives", "file:///disk/archives/"])
def test_a_mirror_holds_the_archives_under_their_makers_names(mirror):
    assert archive_url("sbd", mirror=mirror) == "file:///disk/archives/benchmark.tgz"
    assert archive_url("sbd") == RELEASES["sbd"].url


def test_the_word_is_replaced_by_paths_in_the_folders_that_are_asked_for():
    dataset = {**VOC, "root": "download", "sbd": "download", "mirror": "https://x"}
    assert release_folders(dataset) == ["resources/data/voc2012", "resources/data/sbd"]
    found = located(dataset)
    assert found["root"] == "resources/data/voc2012/VOCdevkit"
    assert found["sbd"] == "resources/data/sbd/benchmark_RELEASE"
    assert found["kind"] == "voc"
    assert dataset["root"] == "download"


def test_annotations_of_both_splits_are_one_release():
    dataset = {**COCO, **dict.fromkeys(DOWNLOADS["coco"], "download")}
    assert release_folders(dataset) == [
        f"resources/data/coco2014_{part}" for part in ("train", "annotations", "val")
    ]  # fmt: skip
    assert located(dataset)["val_instances"] == "resources/data/coco2014_annotations/annotations/instances_val2014.json"


@pytest.mark.parametrize(
    ("dataset", "folders"),
    [
        ({**VOC, "root": "data/voc", "sbd": None}, []),
        ({**VOC, "root": "data/voc", "sbd": "download"}, ["resources/data/sbd"]),
        ({**COCO, "train_instances": "download", "train_images": "mine"}, ["resources/data/coco2014_annotations"]),
        ({**VOC, "kind": "folder", "root": "download"}, []),
        ({**VOC, "kind": "demo"}, []),
    ],
)
def test_only_what_is_asked_for_is_fetched(dataset, folders):
    assert release_folders(dataset) == folders
    kept = {key: value for key, value in dataset.items() if value != "download" and key != "mirror"}
    assert kept.items() <= located(dataset).items()
