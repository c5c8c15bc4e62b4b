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
        ("image,labels\nA.jpg,cat\n", r"line 2: .*images/A\.jpg does not exist"),
        ("image,labels\nno/a.jpg,cat\n", r"line 2: .*images/no/a\.jpg does not exist"),
        ("image,labels\na.jpg/a.jpg,cat\n", r"line 2: .*images/a\.jpg/a\.jpg does not exist"),
        ("image,labels\na.jpg,cat\na.jpg,cat\n", r"line 3: image id 'a' is taken by .*line 2"),
        ("image,labels,split\na.jpg,cat,train\na.png,cat,val\n", r"line 3: image id 'a' is taken by .*line 2"),
        ("image,labels,split\na.jpg,cat,valid\n", r"line 2: unknown split 'valid'"),
        ("image,labels,splits\na.jpg,cat,val\n", r"columns \['image', 'labels', 'splits'\]"),
        ("image;labels\na.jpg;cat\n", r"columns \['image;labels'\]"),
        ("image\na.jpg\n", r"columns \['image'\]"),
        ("", "columns None"),
        ("image,labels\na.jpg\n", "line 2: expected 2 cells"),
        ("image,labels\na.jpg,cat,dog\n", "line 2: expected 2 cells"),
        ("image,labels\n,cat\n", "line 2: image ''"),
        ("image,labels\n../images/a.jpg,cat\n", r"line 2: image '\.\./images/a\.jpg'"),
        ("image,labels\n/a.jpg,cat\n", r"line 2: image '/a\.jpg'"),
        ("image,labels\na.jpg,\n", "names no class"),
        ('image,labels\n"a.jpg"x,cat\n', "not a valid CSV"),
        ("image,labels\na.jpg,groß\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_bad_tables_are_refused(tmp_path, csv, message):
    root = write_folder(tmp_path, csv, photos=["a.jpg", "a.png"])
    with pytest.raises(InputError, match=message):
        index_folder(root)


def test_a_photo_under_a_name_that_looks_alike_is_hinted_at(tmp_path):
    """File names that a Mac has written are decomposed; the table that a spreadsheet has written is not."""
    root = write_folder(tmp_path, "image,labels\n\u00fc.JPG,cat\n", photos=["u\u0308.jpg", "v.jpg"])
    with pytest.raises(InputError, match=r"does not exist \(but 'u\u0308.jpg', written otherwise\); correct the path"):
        index_folder(root)


def test_masks_of_which_none_fits_are_refused(tmp_path):
    root = write_folder(tmp_path, "image,labels\na.jpg,cat\n", photos=["a.jpg"], masks=["a_mask.png"])
    with pytest.raises(InputError, match=r"masks holds no mask of a photo; name them <image id>.png"):
        index_folder(root, masks="masks")


def test_class_that_the_list_lacks_is_refused(tmp_path):
    root = write_folder(tmp_path, "image,labels\na.jpg,cat;cow\n", photos=["a.jpg"], classes="cat\ndog\n")
    with pytest.raises(InputError, match=r"line 2: class 'cow' is not in the class list \(cat, dog\)"):
        index_folder(root)


@pytest.mark.parametrize(
    "given",
    [{"images": "gone"}, {"masks": "gone"}, {"labels": "gone"}, {"classes": "gone"}],
    ids=["images", "masks", "labels", "classes"],
)
def test_missing_paths_are_named(tmp_path, given):
    root = write_folder(tmp_path, "image,labels\na.jpg,cat\n", photos=["a.jpg"])
    with pytest.raises(InputError, match="gone does not exist"):
        index_folder(root, **given)
