from pathlib import Path

import pytest

from ssc.data.folder import index_folder
from ssc.runtime.errors import InputError


def write_folder(root: Path, csv: str | bytes, *, photos: list[str], masks: list[str] = (), classes=None) -> Path:
    for folder, names in {"images": photos, "masks": masks}.items():
        (root / folder).mkdir()
        for name in names:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / name).touch()
    (root / "labels.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    if classes is not None:
        (root / "classes.txt").write_text(classes)
    return root


def test_splits_labels_masks(tmp_path):
    csv = "image,labels,split\nb.jpg,dog;cat,train\nsub/a.b.png,cat,val\nc.jpeg,,test\nd.jpg, dog ; ,\n"
    photos = ["b.jpg", "sub/a.b.png", "c.jpeg", "d.jpg", "unlisted.jpg"]
    root = write_folder(tmp_path, csv, photos=photos, masks=["sub/a.b.png", "c.png"])
    index = index_folder(root, masks="masks")
    assert index.classes == ["cat", "dog"]
    assert [(row.id, row.split, row.labels) for row in index.rows] == [
        ("b", "train", (1, 2)),
        ("d", "train", (2,)),
        ("sub/a.b", "val", (1,)),
        ("c", "test", ()),
    ]
    assert [row.mask for row in index.rows] == ["", "", str(root / "masks/sub/a.b.png"), str(root / "masks/c.png")]
    assert [row.image for row in index.rows] == [
        str(root / "images" / name) for name in ("b.jpg", "d.jpg", "sub/a.b.png", "c.jpeg")
    ]
    assert all(row.mask == "" for row in index_folder(root).rows)


def test_columns_in_any_order_and_split_optional(tmp_path):
    root = write_folder(tmp_path, "labels,image\ncat,a.jpg\n", photos=["a.jpg"])
    assert [(row.id, row.split, row.labels) for row in index_folder(root).rows] == [("a", "train", (1,))]


def test_spreadsheet_csv(tmp_path):
    """Byte order mark, CRLF, quotes, a blank last line, names beyond ASCII."""
    csv = '\ufeffimage,labels\r\n"a, b.jpg","cat;groß"\r\n./c.jpg,cat\r\n\r\n'
    root = write_folder(tmp_path, csv, photos=["a, b.jpg", "c.jpg"])
    index = index_folder(root)
    assert index.classes == ["cat", "groß"]
    assert [(row.id, row.labels) for row in index.rows] == [("a, b", (1, 2)), ("c", (1,))]


def test_class_list_fixes_the_order(tmp_path):
    root = write_folder(tmp_path, "image,labels\na.jpg,cat\n", photos=["a.jpg"], classes="\ufeffdog\ncat\n\n")
    assert index_folder(root).classes == ["dog", "cat"]
    assert index_folder(root).rows[0].labels == (2,)
    (root / "mine.txt").write_text("cow\nhen\ncat\n")
    assert index_folder(root, classes="mine.txt").rows[0].labels == (3,)


def test_other_folder_names(tmp_path):
    root = write_folder(tmp_path, "image,labels\na.jpg,cat\n", photos=["a.jpg"], masks=["a.png"])
    for old, new in {"images": "photos", "masks": "truth", "labels.csv": "tags.csv"}.items():
        (root / old).rename(root / new)
    (row,) = index_folder(root, images="photos", labels="tags.csv", masks="truth").rows
    assert (row.image, row.mask) == (str(root / "photos/a.jpg"), str(root / "truth/a.png"))


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("image,labels\na.jpg,cat\nz.jpg,cat\n", r"labels\.csv, line 3: .*images/z\.jpg does not exist"),
        ("image,labels\nno/a.jpg,cat\n", r"line 2: .*images/no/a\.jpg does not exist"),
        ("image,labels\na.jpg/a.jpg,cat\n", r"line 2: .*images/a\.jpg/a\.jpg does not exist"),
        ("image,labels\na.jpg,cat\na.png,cat\n", r"line 3: image id 'a' is taken by line 2"),
        ("image,labels\nA.jpg,cat\na.jpg,cat\n", r"line 3: image id 'a' is taken by a.jpg in line 2; write both alike"),
        ("image,labels\na.jpg,\n", "names no class"),
    ],
)
def test_lines_that_name_no_photo_are_refused(tmp_path, csv, message):
    root = write_folder(tmp_path, csv, photos=["a.jpg", "a.png"])
    with pytest.raises(InputError, match=message):
        index_folder(root)


def test_all_absent_photos_are_told_at_once(tmp_path):
    lines = "".join(f"{k}.jpg,cat\n" for k in range(30))
    root = write_folder(tmp_path, f"image,labels\n{lines}", photos=["7.jpg"])
    with pytest.raises(InputError, match=r"labels\.csv has 29 faults") as info:
        index_folder(root)
    assert "line 2: " in str(info.value) and "... and 9 more" in str(info.value) and "line 9: " not in str(info.value)


@pytest.mark.parametrize("written", ["\u00fc.jpg", "\u00dc.JPG", "u\u0308.Jpg"])
def test_a_photo_under_a_name_that_looks_alike_is_taken(tmp_path, written):
    """File names that a Mac has written are decomposed; the table that a spreadsheet has written is not."""
    root = write_folder(tmp_path, f"image,labels\n{written},cat\n", photos=["u\u0308.jpg", "v.jpg"])
    (row,) = index_folder(root).rows
    assert (row.id, row.image) == ("u\u0308", f"{root}/images/u\u0308.jpg")


def test_a_name_that_may_be_several_photos_is_asked(tmp_path):
    root = write_folder(tmp_path, "image,labels\nA.jpg,cat\n", photos=["a.JPG", "a.jpg"])
    with pytest.raises(InputError, match=r"line 2: A.jpg may be any of a.JPG, a.jpg"):
        index_folder(root)


def test_photos_that_are_left_out_are_counted(tmp_path, capsys):
    photos = ["a.jpg", "sub/b.PNG", "c.webp", "notes.txt"]
    index_folder(write_folder(tmp_path, "image,labels\na.jpg,cat\n", photos=photos))
    assert f"2 photos of {tmp_path}/images are not in {tmp_path}/labels.csv" in capsys.readouterr().err


@pytest.mark.parametrize("stray", ["b_mask.png", "b.PNG", "b.tif", "sub/b.png"])
def test_masks_and_photos_without_each_other_are_counted(tmp_path, capsys, stray):
    root = write_folder(
        tmp_path, "image,labels\na.jpg,cat\nb.jpg,cat\n", photos=["a.jpg", "b.jpg"], masks=["a.png", stray]
    )
    index_folder(root, masks="masks")
    told = capsys.readouterr().err
    assert f"1 files of {root}/masks are no photo's mask, such as {stray}, and 1 photos have none, such as b;" in told
    (root / "masks" / stray).unlink()
    index_folder(root, masks="masks")
    assert f"1 of 2 photos have no mask in {root}/masks, such as b" in capsys.readouterr().err


def test_masks_of_which_none_fits_are_refused(tmp_path):
    root = write_folder(tmp_path, "image,labels\na.jpg,cat\n", photos=["a.jpg"], masks=["a_mask.png"])
    with pytest.raises(
        InputError, match=r"masks holds no mask of a photo; name them <image id>.png, not as 'a_mask.png'"
    ):
        index_folder(root, masks="masks")


@pytest.mark.parametrize(
    "given",
    [{"images": "gone"}, {"masks": "gone"}, {"labels": "gone"}, {"classes": "gone"}],
    ids=["images", "masks", "labels", "classes"],
)
def test_missing_paths_are_named(tmp_path, given):
    root = write_folder(tmp_path, "image,labels\na.jpg,cat\n", photos=["a.jpg"])
    with pytest.raises(InputError, match="gone does not exist"):
        index_folder(root, **given)
