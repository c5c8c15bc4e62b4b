import os
from pathlib import Path

import pytest

from ssc.data.build import build_index
from ssc.data.voc import VOC_CLASSES, index_voc
from ssc.runtime.errors import InputError

XML = "<annotation>{}</annotation>"
OBJECT = "<object><name>{}</name><difficult>{}</difficult></object>"


def write_voc(root: Path, *, train: list[str], val: list[str], test: list[str] | None = None, photos=None) -> Path:
    """A VOC tree in which every listed image shows a dog; photos are empty files, for no adapter reads pixels."""
    voc = root / "VOCdevkit" / "VOC2012"
    for folder in ("ImageSets/Segmentation", "JPEGImages", "Annotations", "SegmentationClass"):
        (voc / folder).mkdir(parents=True)
    for name, ids in {"train": train, "val": val, "test": test}.items():
        if ids is not None:
            (voc / "ImageSets/Segmentation" / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids))
    template = root / "template.xml"
    template.write_text(XML.format(OBJECT.format("dog", 0)))
    for image_id in photos if photos is not None else [*train, *val, *(test or [])]:
        os.link(template, voc / "Annotations" / f"{image_id}.xml")
        os.link(template, voc / "JPEGImages" / f"{image_id}.jpg")
    return voc


def write_sbd(root: Path, *, train: list[str], val: list[str], photos: list[str] = ()) -> Path:
    dataset = root / "benchmark_RELEASE" / "dataset"
    (dataset / "img").mkdir(parents=True)
    (dataset / "train.txt").write_text("\n".join(train))
    (dataset / "val.txt").write_text("\n".join(val))
    for image_id in photos:
        (dataset / "img" / f"{image_id}.jpg").touch()
    return dataset


def test_training_set_of_the_real_counts(tmp_path):
    """1,464 + 1,449 VOC images and 8,498 + 2,857 SBD images, which share some, make the 10,582 of the literature."""
    ids = [f"2008_{number:06d}" for number in range(1464 + 1449 + 9118)]
    train, val, extra = ids[:1464], ids[1464:2913], ids[2913:]
    boundaries = sorted(train[:1112] + val[:1125] + extra, key=lambda image_id: image_id[::-1])
    assert len(boundaries) == 8498 + 2857
    write_voc(tmp_path, train=train, val=val, photos=ids)
    sbd = write_sbd(tmp_path, train=boundaries[:8498], val=boundaries[8498:])

    index = index_voc(tmp_path, sbd=sbd)

    assert [row.id for row in index.split("train")] == train + extra
    assert len(index.split("train")) == 10_582
    assert [row.id for row in index.split("val")] == val
    assert index.split("test") == []
    assert {row.id for row in index.rows if row.mask} == {*train, *val}
    assert {row.labels for row in index.rows} == {(VOC_CLASSES.index("dog") + 1,)}


def test_without_sbd_only_voc_train(tmp_path):
    write_voc(tmp_path, train=["a", "b"], val=["c"], test=["d"])
    index = index_voc(tmp_path)
    assert [(row.id, row.split) for row in index.rows] == [("a", "train"), ("b", "train"), ("c", "val"), ("d", "test")]


def test_test_images_have_neither_labels_nor_mask_nor_need_of_an_annotation(tmp_path):
    voc = write_voc(tmp_path, train=["a"], val=["c"], test=["d"])
    (voc / "Annotations" / "d.xml").unlink()
    (row,) = index_voc(tmp_path).split("test")
    assert (row.labels, row.mask) == ((), "")


@pytest.mark.parametrize("inner", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_test_images_in_a_folder_of_their_own(tmp_path, inner):
    (tmp_path / "held_out").mkdir()
    write_voc(tmp_path, train=["a"], val=["b"], test=["old"])
    held_out = write_voc(tmp_path / "held_out", train=[], val=[], test=["c", "d"])
    index = index_voc(tmp_path, test_root=tmp_path / "held_out" / inner)
    assert {row.id: Path(row.image).parent for row in index.split("test")} == dict.fromkeys(
        "cd", held_out / "JPEGImages"
    )
    assert [row.id for row in index.rows] == ["a", "b", "c", "d"]
    (held_out / "ImageSets/Segmentation/test.txt").unlink()
    with pytest.raises(InputError, match=r"None of .*held_out.*Segmentation/test\.txt.* exists"):
        index_voc(tmp_path, test_root=tmp_path / "held_out" / inner)


@pytest.mark.parametrize("inner", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_root_at_any_level(tmp_path, inner):
    voc = write_voc(tmp_path, train=["a"], val=["b"])
    row = index_voc(tmp_path / inner).rows[0]
    assert Path(row.image) == voc / "JPEGImages" / "a.jpg"
    assert Path(row.mask) == voc / "SegmentationClass" / "a.png"


@pytest.mark.parametrize("inner", [".", "dataset"])
def test_sbd_at_either_level_lends_the_photos_that_voc_lacks(tmp_path, inner):
    voc = write_voc(tmp_path, train=["a"], val=["b"], photos=["a", "b", "c", "d"])
    (voc / "JPEGImages" / "c.jpg").unlink()
    dataset = write_sbd(tmp_path, train=["a", "b", "c"], val=["d"], photos=["a", "b", "c", "d"])
    photos = {row.id: Path(row.image).parent for row in index_voc(tmp_path, sbd=dataset.parent / inner).rows}
    jpegs = voc / "JPEGImages"
    assert photos == {"a": jpegs, "b": jpegs, "c": dataset / "img", "d": jpegs}


def test_labels_count_difficult_objects_once_and_no_body_parts(tmp_path):
    voc = write_voc(tmp_path, train=["a"], val=["b"])
    part = "<object><name>person</name><part><name>head</name></part></object>"
    objects = part + OBJECT.format("cat", 1) + OBJECT.format("\n aeroplane ", 0) + OBJECT.format("cat", 0)
    (voc / "Annotations" / "a.xml").unlink()  # a hard link to the template
    (voc / "Annotations" / "a.xml").write_text(XML.format(objects))
    assert index_voc(tmp_path).rows[0].labels == (1, 8, 15)


def test_voc_order():
    assert sorted(VOC_CLASSES) == VOC_CLASSES
    assert len(set(VOC_CLASSES)) == 20


def remove(path: str):
    return lambda voc: (voc / path).unlink()


def replace(path: str, text: str):
    def act(voc: Path):
        (voc / path).unlink()
        (voc / path).write_text(text)

    return act


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("ImageSets/Segmentation/train.txt"), r"None of .*VOCdevkit/VOC2012/ImageSets"),
        (remove("ImageSets/Segmentation/val.txt"), "val.txt"),
        (remove("Annotations/a.xml"), r"Annotations/a\.xml does not exist"),
        (remove("JPEGImages/b.jpg"), r"b\.jpg of the val list is not in .*VOC2012/JPEGImages; unpack"),
        (replace("Annotations/a.xml", "<annotation>"), r"a\.xml is not valid XML"),
        (replace("Annotations/a.xml", XML.format(OBJECT.format("unicorn", 0))), r"a\.xml.*'unicorn'"),
        (replace("Annotations/a.xml", XML.format("<object><name/></object>")), r"a\.xml.*''"),
        (lambda voc: (voc / "JPEGImages").rename(voc / "photos"), "JPEGImages does not exist"),
        (lambda voc: (voc / "SegmentationClass").rmdir(), "mask folder .*SegmentationClass does not exist"),
    ],
)
def test_incomplete_trees_are_refused(tmp_path, damage, message):
    voc = write_voc(tmp_path, train=["a"], val=["b"])
    index_voc(tmp_path)
    damage(voc)
    with pytest.raises(InputError, match=message):
        index_voc(tmp_path)


def test_wrong_sbd_folder_is_refused(tmp_path):
    write_voc(tmp_path, train=["a"], val=["b"])
    with pytest.raises(InputError, match=r"nowhere/dataset/train\.txt"):
        index_voc(tmp_path, sbd=tmp_path / "nowhere")


def test_photos_are_looked_for_in_both_folders(tmp_path):
    write_voc(tmp_path, train=["a"], val=["b"], photos=["a", "b", "c"])
    dataset = write_sbd(tmp_path, train=["a", "d"], val=[])
    with pytest.raises(InputError, match=r"d\.jpg of the train list is not in .*JPEGImages or .*dataset/img; unpack"):
        index_voc(tmp_path, sbd=dataset)
    (dataset / "img").rmdir()
    with pytest.raises(InputError, match=r"photo folder .*dataset/img does not exist"):
        index_voc(tmp_path, sbd=dataset)
    (dataset / "val.txt").unlink()
    with pytest.raises(InputError, match=r"split list .*dataset/val\.txt does not exist"):
        index_voc(tmp_path, sbd=dataset)


def test_real_annotations(shared_data):
    index = build_index({"kind": "voc", "root": str(shared_data / "voc"), "sbd": str(shared_data / "voc" / "sbd")})
    train, val = index.split("train"), index.split("val")
    assert (len(train), len(val)) == (58, 20)
    assert sum(bool(row.mask) for row in train) == 20
    assert all(row.mask and row.labels for row in val)
    assert all(Path(path).is_file() for row in index.rows for path in (row.image, row.mask) if path)
    assert len(build_index({"kind": "voc", "root": str(shared_data / "voc"), "sbd": None}).split("train")) == 20
