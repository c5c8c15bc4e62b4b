import os

import pytest

from ssc.data.index import Index, Row, write_parts
from ssc.workflow.shards import count_shards


def photos(root, number: int) -> dict:
    for name in range(number):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "images" / f"{name}.jpg").touch()
    return {"kind": "folder", "root": str(root), "images": "images"}


@pytest.mark.parametrize(("number", "expected"), [(0, 1), (1, 1), (64, 1), (65, 2), (80, 2), (1025, 16)])
def test_shards_of_ones_own_photos_follow_their_number(tmp_path, number, expected):
    assert count_shards(photos(tmp_path, number), tmp_path / "results") == expected


def test_only_photos_count(tmp_path):
    dataset = photos(tmp_path, 64)
    (tmp_path / "images" / ".0.jpg").touch()
    (tmp_path / "images" / "notes.txt").touch()
    assert count_shards(dataset, tmp_path / "results") == 1


def test_shards_of_published_data_sets_and_of_the_demo(tmp_path):
    assert count_shards({"kind": "voc", "root": "download"}, tmp_path) == 16
    assert count_shards({"kind": "coco"}, tmp_path) == 16
    assert count_shards({"kind": "demo", "train": 500, "val": 200}, tmp_path) == 11


def test_results_that_are_there_keep_their_shards(tmp_path):
    index, results = Index(["cat"], [Row("a", "train", "a.jpg", "", (1,))]), tmp_path / "results"
    for age, number in ((2, 4), (1, 3), (3, 7)):
        write_parts(results / "index.tsv", index, number)
        table = results / "index" / "train" / f"1-of-{number}.tsv"
        os.utime(table, (table.stat().st_mtime - 100 * age,) * 2)
    (results / "index" / "train" / "1-of-9 (copy).tsv").touch()
    assert count_shards(photos(tmp_path, 80), results) == 3


@pytest.mark.parametrize("archive", ["superpixels/1-of-5.zip", "masks/train/1-of-5.zip"])
def test_they_keep_them_while_the_index_is_made_anew(tmp_path, archive):
    path = tmp_path / "results" / archive
    path.parent.mkdir(parents=True)
    path.touch()
    assert count_shards(photos(tmp_path, 80), tmp_path / "results") == 5
