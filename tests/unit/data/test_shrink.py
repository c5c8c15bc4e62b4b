import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssc.data import shrink as shrinking
from ssc.data.index import Index, Row
from ssc.data.photos import read_image
from ssc.data.shrink import shrink


@pytest.fixture
def rows(tmp_path):
    """A phone's photo that lies on its side, with a mask; a small photo; one that is just as large as it may be."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.full((300, 400, 3), (200, 40, 40), np.uint8)
    pixels[:150] = (20, 60, 220)  # left, once it is turned
    Image.fromarray(pixels).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    mask = np.zeros((400, 300), np.uint8)
    mask[:, 150:] = 2
    Image.fromarray(mask).save(tmp_path / "phone.png")
    for name, width in (("small", 60), ("just", 100)):
        Image.new("RGB", (width, 40)).save(tmp_path / f"{name}.png")
    return [
        Row("sub/phone", "train", str(tmp_path / "phone.jpg"), str(tmp_path / "phone.png"), (2,), "abc"),
        Row("just", "train", str(tmp_path / "just.png"), "", (1,), "def"),
        Row("small", "val", str(tmp_path / "small.png"), "", (1,), "ghi"),
    ]


def test_large_photos_and_their_masks_are_copied_and_others_left(rows, tmp_path, capsys):
    index = shrink(Index(["cat", "dog"], rows), tmp_path / "photos", max_side=100)
    found = {row.id: row for row in index.rows}
    assert found["just"] == rows[1] and found["small"] == rows[2]
    phone = found["sub/phone"]
    image = read_image(phone.image)
    assert image.shape == (100, 75, 3) and phone.image == str(tmp_path / "photos" / "sub" / "phone.jpg")
    np.testing.assert_allclose(image[50, 10], (200, 40, 40), atol=6)
    np.testing.assert_allclose(image[50, 65], (20, 60, 220), atol=6)
    mask = np.asarray(Image.open(phone.mask))
    assert mask.shape == (100, 75) and mask[50, 10] == 0 and mask[50, 65] == 2 and set(np.unique(mask)) == {0, 2}
    assert "1 photos are larger than 100 pixels" in capsys.readouterr().err


def test_results_follow_the_size(rows, tmp_path):
    """A result for a copy of another size is another one."""
    index = Index(["cat", "dog"], rows)
    keys = {shrink(index, tmp_path / str(side), max_side=side).rows[1].key for side in (100, 200, 400)}
    assert len(keys) == 3 and index.rows[1].key in keys


def test_copies_are_the_same_bytes(rows, tmp_path):
    index = Index(["cat", "dog"], rows)
    first, second = (shrink(index, tmp_path / name, max_side=100).rows[1] for name in "ab")
    assert Path(first.image).read_bytes() == Path(second.image).read_bytes()


def test_copies_are_made_once(rows, tmp_path, monkeypatch):
    """Snakemake empties the folder whenever the index is made again."""
    folder, made, read = tmp_path / "photos", [], shrinking.read_for_resize
    monkeypatch.setattr(shrinking, "read_for_resize", lambda path, target: made.append(path) or read(path, target))

    def copies(side=100):
        shutil.rmtree(folder, ignore_errors=True)
        row = shrink(Index(["cat", "dog"], rows), folder, max_side=side).rows[1]
        return Path(row.image).read_bytes(), np.asarray(Image.open(row.mask)).tolist()

    first = copies()
    assert copies() == first and len(made) == 1
    Image.fromarray(np.ones((400, 300), np.uint8)).save(tmp_path / "phone.png")  # a mended mask
    second = copies()
    assert second[0] == first[0] and np.all(np.equal(second[1], 1)) and len(made) == 1
    copies(200)
    assert len(made) == 2 and len(list((tmp_path / ".photos").iterdir())) == 2  # what no photo needs any more is gone
    monkeypatch.setattr(shrinking.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    assert copies(200)[0] and len(made) == 2
