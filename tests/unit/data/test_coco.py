import json
from pathlib import Path

import pytest

from ssc.data.coco import class_of_category, index_coco, read_instances
from ssc.runtime.errors import InputError

BOX = [[1, 1, 5, 1, 5, 5, 1, 5]]


def instances(*, images: dict[int, str], annotations: list[tuple[int, int, int]]) -> dict:
    """An instances JSON with categories 1, 3 and 90; `annotations` are (image, category, crowd)."""
    return {
        "images": [{"id": i, "file_name": name, "height": 8, "width": 8} for i, name in images.items()],
        "annotations": [
            {"image_id": image, "category_id": category, "iscrowd": crowd, "segmentation": BOX}
            for image, category, crowd in annotations
        ],
        "categories": [{"id": 90, "name": "brush"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    }


def write_split(root: Path, name: str, content: dict) -> dict[str, str]:
    """Write a split; only the first photo exists. Returns the adapter's arguments for it."""
    (root / name).mkdir()
    (root / f"{name}.json").write_text(json.dumps(content))
    if content.get("images"):
        (root / name / content["images"][0]["file_name"]).touch()
    return {f"{name}_images": str(root / name), f"{name}_instances": str(root / f"{name}.json")}


TRAIN = {"images": {7: "b.jpg", 5: "a.jpg", 9: "c.jpg"}, "annotations": [(7, 90, 0), (7, 1, 0), (7, 90, 0), (5, 3, 1)]}


def test_ids_follow_sorted_categories_and_crowds_count(tmp_path):
    index = index_coco(**write_split(tmp_path, "train", instances(**TRAIN)))
    assert index.classes == ["person", "car", "brush"]
    assert [(row.id, row.labels) for row in index.rows] == [("a", (2,)), ("b", (1, 3)), ("c", ())]
    assert {row.mask for row in index.rows} == {str(tmp_path / "train.json")}
    assert [row.image for row in index.rows] == [str(tmp_path / "train" / f"{name}.jpg") for name in "abc"]


def test_two_splits(tmp_path):
    train = write_split(tmp_path, "train", instances(**TRAIN))
    val = write_split(tmp_path, "val", instances(images={1: "COCO_val2014_000000000042.jpg"}, annotations=[]))
    index = index_coco(**train, **val)
    assert len(index.split("train")) == 3
    (row,) = index.split("val")
    assert (row.id, row.labels, row.mask) == ("COCO_val2014_000000000042", (), val["val_instances"])


def test_boxes_alone_suffice_for_labels(tmp_path, capsys):
    """Without outlines, and without the mark of a crowd; an image with some outlines is not measured on either."""
    content = instances(**TRAIN)
    for annotation in content["annotations"][1:]:
        del annotation["iscrowd"], annotation["segmentation"]
    rows = index_coco(**write_split(tmp_path, "train", content)).rows
    assert [(row.id, row.labels, bool(row.mask)) for row in rows] == [
        ("a", (2,), False), ("b", (1, 3), False), ("c", (), True)
    ]  # fmt: skip
    assert "train.json: 2 images have annotations without outlines" in capsys.readouterr().err


def test_annotations_of_images_that_are_not_listed_are_left_out(tmp_path, capsys):
    content = instances(images={5: "a.jpg"}, annotations=[(5, 1, 0), (6, 3, 0), (6, 1, 0), (7, 1, 0)])
    assert [row.labels for row in index_coco(**write_split(tmp_path, "train", content)).rows] == [(1,)]
    assert f"Warning: {tmp_path}/train.json has annotations of 2 images that it does not" in capsys.readouterr().err


def test_one_half_of_a_split_is_refused(tmp_path):
    train = write_split(tmp_path, "train", instances(**TRAIN))
    for half in ("val_images", "val_instances"):
        with pytest.raises(InputError, match="both or neither"):
            index_coco(**train, **{half: str(tmp_path)})


def test_splits_with_other_categories_are_refused(tmp_path):
    train = write_split(tmp_path, "train", instances(**TRAIN))
    other = instances(images={1: "a.jpg"}, annotations=[])
    other["categories"].pop()
    with pytest.raises(InputError, match=r"train\.json and .*val\.json differ"):
        index_coco(**train, **write_split(tmp_path, "val", other))


def test_missing_folder_photo_and_file(tmp_path):
    train = write_split(tmp_path, "train", instances(**TRAIN))
    with pytest.raises(InputError, match="elsewhere of the train split does not exist"):
        index_coco(**{**train, "train_images": str(tmp_path / "elsewhere")})
    with pytest.raises(InputError, match=r"none\.json does not exist"):
        index_coco(**{**train, "train_instances": str(tmp_path / "none.json")})
    (tmp_path / "train" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg of .*train\.json is not in"):
        index_coco(**train)


@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
def test_json_without_a_list_is_refused(tmp_path, kind):
    content = instances(**TRAIN)
    del content[kind]
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"x\.json has no list '{kind}'"):
        read_instances(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("kind", "key"),
    [("images", "file_name"), ("images", "id"), ("annotations", "category_id"),
     ("annotations", "image_id"), ("categories", "name")],
)  # fmt: skip
def test_json_with_an_incomplete_entry_is_refused(tmp_path, kind, key):
    content = instances(**TRAIN)
    del content[kind][-1][key]
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"x\.json: an entry of '{kind}' lacks {key}"):
        read_instances(tmp_path / "x.json")


@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
@pytest.mark.parametrize("content", [None, 3, {}, [3], [[]]])
def test_json_of_another_shape_is_refused(tmp_path, kind, content):
    (tmp_path / "x.json").write_text(json.dumps({**instances(**TRAIN), kind: content}))
    with pytest.raises(InputError, match=rf"x\.json.*{kind}"):
        read_instances(tmp_path / "x.json")


def test_unknown_category_and_broken_json_are_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(instances(images={1: "a.jpg"}, annotations=[(1, 2, 0)])))
    with pytest.raises(InputError, match="annotation number 0: its category 2 is not in"):
        read_instances(path)
    path.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_instances(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="no list 'images'"):
        read_instances(path)


def test_real_instances_as_pycocotools_reads_them(shared_data):
    from pycocotools.coco import COCO

    (path,) = (shared_data / "coco" / "annotations").glob("*.json")
    index = index_coco(train_images=shared_data / "coco" / "images", train_instances=path)
    coco = COCO(str(path))
    categories = coco.loadCats(sorted(coco.getCatIds()))
    assert index.num_classes == 80
    assert index.classes == [category["name"] for category in categories]
    assert class_of_category(coco.dataset) == {c["id"]: k + 1 for k, c in enumerate(categories)}
    expected = {}
    for image in coco.loadImgs(coco.getImgIds()):
        names = {coco.cats[a["category_id"]]["name"] for a in coco.imgToAnns[image["id"]]}
        expected[image["file_name"].removesuffix(".jpg")] = names
    assert {row.id: {index.classes[label - 1] for label in row.labels} for row in index.rows} == expected
    assert () in {row.labels for row in index.rows}
    assert all(Path(row.image).is_file() for row in index.rows)
