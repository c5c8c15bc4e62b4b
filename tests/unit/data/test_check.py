"""The look at a data set before the work begins: what is refused, what is carried, and what the log says."""

import hashlib
import logging
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ssc.data.check import check_images, check_table
from ssc.data.index import Index, Row, read_index, write_index
from ssc.data.photos import read_image
from ssc.runtime.errors import InputError
from tests.faults.bad_inputs import film

PIXELS = 10**6


# Photos


@pytest.fixture
def photo(tmp_path):
    """Photo of 48 x 32 pixels in smooth colours."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
    return coarse.resize((48, 32), Image.Resampling.BICUBIC)


def row_of(path, mask="") -> Row:
    return Row("a", "train", str(path), str(mask), (1,))


def check(path, mask="") -> Row:
    return check_images(Index(["cat"], [row_of(path, mask)]), max_pixels=PIXELS).rows[0]


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.jpg", "RGB", {}),
        ("a.jpg", "RGB", {"progressive": True}),
        ("a.jpg", "L", {}),
        ("a.jpg", "CMYK", {}),
        ("a.tif", "CMYK", {}),
        ("a.png", "P", {}),
        ("a.png", "RGBA", {}),
        ("a.png", "LA", {}),
        ("a.png", "1", {}),
        ("a.webp", "RGB", {}),
        ("a.tif", "RGB", {}),
        ("a.bmp", "RGB", {}),
        ("a.gif", "P", {}),
        ("a.ppm", "RGB", {}),
    ],
)
def test_kinds_of_photos_that_are_carried(tmp_path, photo, name, mode, options):
    converted = photo.convert(mode)
    converted.save(tmp_path / name, **options)
    check(tmp_path / name)
    pixels = read_image(tmp_path / name)
    assert pixels.shape == (32, 48, 3) and pixels.dtype == np.uint8
    difference = np.abs(pixels.astype(int) - np.asarray(converted.convert("RGB")))
    assert difference.mean() < 12  # JPEG changes colours; inverted inks would differ by a hundred


def test_sixteen_bits_are_carried(tmp_path):
    Image.fromarray(np.full((20, 20), 0x4000, np.uint16)).save(tmp_path / "a.png")
    check(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 0x40).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_mask_is_that_of_the_upright_photo(tmp_path, photo, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.save(tmp_path / name, exif=exif)
    size = read_image(tmp_path / name).shape[:2]
    Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / "mask.png")
    check(tmp_path / name, tmp_path / "mask.png")
    Image.fromarray(np.zeros(size[::-1], np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="restore the pair"):
        check(tmp_path / name, tmp_path / "mask.png")


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    (tmp_path / "a.png").write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    assert read_image(tmp_path / "a.png").shape == (48, 32, 3)
    Image.fromarray(np.zeros((48, 32), np.uint8)).save(tmp_path / "mask.png")
    check(tmp_path / "a.png", tmp_path / "mask.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("more", [b"\0" * 3, b"\0" * 5000, bytes(range(256)) * 1000])
def test_something_may_follow_the_picture(tmp_path, photo, name, more):
    """Padding, or the short film that phones append."""
    photo.save(tmp_path / name)
    with (tmp_path / name).open("ab") as file:
        file.write(more)
    check(tmp_path / name)
    assert read_image(tmp_path / name).shape == (32, 48, 3)


def test_a_phones_pair_of_pictures_is_its_first(tmp_path, photo):
    photo.save(tmp_path / "a.jpg", "mpo", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    check(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == (32, 48, 3)


def test_every_cut_that_the_decoder_would_find_is_found(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "a.png"):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for length in range(0, len(whole), 61):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(InputError, match="cannot be read"):
                read_image(tmp_path / name)
            with pytest.raises(InputError, match="cannot be read"):
                check(tmp_path / name)


def test_a_jpeg_that_lacks_its_end_mark_alone_is_what_the_decoder_says(tmp_path, photo):
    photo.save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2])
    try:
        read_image(tmp_path / "a.jpg")
    except InputError:
        with pytest.raises(InputError):
            check(tmp_path / "a.jpg")
    else:
        check(tmp_path / "a.jpg")


def test_whole_photos_are_not_decoded(tmp_path, photo, monkeypatch):
    photo.save(tmp_path / "a.jpg")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    check(tmp_path / "a.jpg")


def test_large_photos_are_not_decoded(tmp_path, photo, monkeypatch):
    photo.save(tmp_path / "a.webp")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"48x32 pixels, more than dataset.max_pixels \(1,535\)"):
        check_images(Index(["cat"], [row_of(tmp_path / "a.webp")]), max_pixels=1535)


def test_digests_know_a_file_by_its_size_and_ends(tmp_path, photo):
    photo.save(tmp_path / "a.jpg")
    digest = check(tmp_path / "a.jpg").digest
    content = (tmp_path / "a.jpg").read_bytes()
    expected = hashlib.blake2b(str(len(content)).encode() + b" " + content + content, digest_size=16).hexdigest()
    assert digest == expected
    os.utime(tmp_path / "a.jpg", (1, 1))
    assert check(tmp_path / "a.jpg").digest == digest
    (tmp_path / "b.jpg").write_bytes(content)
    assert check(tmp_path / "b.jpg").digest == digest
    (tmp_path / "a.jpg").write_bytes(content + b"\0")
    assert check(tmp_path / "a.jpg").digest != digest
    # Large files: the first and the last 64 KiB count, the middle does not.
    large = bytearray(content + bytes(200_000))
    digests = []
    for place in (None, 1, 65_535, 100_000, len(large) - 65_536, len(large) - 1):
        changed = large.copy()
        if place == 1:
            changed[content.index(b"JFIF") + 8] ^= 1  # the density, of no effect
        elif place:
            changed[place] ^= 1
        (tmp_path / "a.jpg").write_bytes(changed)
        digests.append(check(tmp_path / "a.jpg").digest)
    assert [digest == digests[0] for digest in digests] == [True, False, False, True, False, False]


def test_many_bad_photos_are_counted_and_logged(tmp_path, photo, caplog):
    rows = []
    for number in range(150):
        path = tmp_path / f"{number:03}.jpg"
        photo.save(path)
        if number % 5:
            path.write_bytes(b"no photo")
        rows.append(replace(row_of(path), id=f"{number:03}"))
    with caplog.at_level(logging.ERROR, "ssc"), pytest.raises(InputError) as info:
        check_images(Index(["cat"], rows), max_pixels=PIXELS)
    assert str(info.value).startswith("120 of 150 images cannot be used")
    assert "001.jpg cannot be read" in str(info.value)
    assert len(caplog.records) == 100


def test_copies_of_training_photos_are_told(tmp_path, photo, capsys):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo.save(tmp_path / name)
    photo.rotate(180).save(tmp_path / "d.jpg")
    rows = [
        Row(name, split, str(tmp_path / f"{name}.jpg"), "", (1,))
        for name, split in [("a", "train"), ("b", "val"), ("c", "test"), ("d", "val")]
    ]
    check_images(Index(["cat"], rows), max_pixels=PIXELS)
    told = capsys.readouterr().err
    assert "2 photos outside of the training split are copies" in told
    assert f"such as {tmp_path}/b.jpg of {tmp_path}/a.jpg" in told


def test_pictures_of_several_frames_are_told_by_their_kind(tmp_path):
    film(tmp_path / "a.webp", "webp")
    with pytest.raises(InputError, match=r"holds several pictures \(WEBP\)"):
        check(tmp_path / "a.webp")


# The table


def rows(*labels: tuple[int, ...], split: str = "train") -> list[Row]:
    return [Row(f"{split}{k}", split, f"{split}{k}.jpg", "", own) for k, own in enumerate(labels)]


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (rows((1,), (2,), (3,)), []),
        (rows((1,), (2,), ()), ["no training image shows hen; it cannot be learned"]),
        (rows((1,), (1,)), ["no training image shows dog, hen;", "every training image shows cat; nothing tells"]),
        (rows((1, 2, 3), (1, 3)), ["every training image shows cat, hen;"]),
        (rows((1, 2, 3)), []),  # a single image tells nothing of what is always there
        (rows((1,), (2,)) + rows((3,), split="val"), ["no training image shows hen;"]),
    ],
)
def test_classes_that_cannot_be_learned_are_told(capsys, table, lines):
    check_table(Index(["cat", "dog", "hen"], table))
    for told, line in zip(capsys.readouterr().err.splitlines(), lines, strict=True):
        assert told.startswith(f"Warning: {line}")


def test_labels_that_name_photos_are_refused():
    names = [f"photo {k}" for k in range(6)]
    with pytest.raises(InputError, match=r"each of the 6 classes has one training photo alone, such as 'photo 0'"):
        check_table(Index(names, rows(*((k,) for k in range(1, 7)))))
    check_table(Index(names, rows(*((k,) for k in range(1, 7)), (3,))))
    check_table(Index(names, rows((1,), (4,))))  # of a fixed list of classes few are shown: weights may be ready


def test_more_classes_than_a_label_map_holds_are_refused():
    with pytest.raises(InputError, match="255 classes, a label map holds 254"):
        check_table(Index([f"c{k}" for k in range(255)], rows((1,), (1, 2))))


def test_broken_exif_is_told(tmp_path, photo, capsys):
    photo.save(tmp_path / "a.png", exif=b"Exif\0\0XX*\0\x08\0\0\0")
    check(tmp_path / "a.png")
    assert "1 photos have broken EXIF data, which is ignored, such as" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["id", "image", "mask"])
@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\tb", "a\0b", "a\x1bb", "a\x7fb", "a\ud800b"])
def test_names_that_text_files_cannot_carry_are_refused(key, name):
    with pytest.raises(InputError, match="control character; rename the file"):
        check_table(Index(["cat"], [replace(row_of("a.jpg"), **{key: name})]))


ODD_NAMES = ["a b", "'a'", '"a"', "ü", "u\u0308", "犬", "-rf", "$(touch x)", "`touch x`", "a;touch x", "a|b&c", "*?[a]",
    "~", "#a", "%s{}", "a\u2028b", ".hidden", "a\u202eb", "=1+1"]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_other_names_are_carried_to_the_index_and_back(tmp_path, photo, name):
    photo.save(tmp_path / f"{name}.jpg")
    index = check_images(Index(["cat"], [replace(row_of(tmp_path / f"{name}.jpg"), id=name)]), max_pixels=PIXELS)
    check_table(index)
    write_index(tmp_path / "index" / "index.tsv", index)
    assert read_index(tmp_path / "index" / "index.tsv") == index
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{name}.jpg", "index"])


def test_one_file_is_in_one_split():
    first, second = Row("a", "train", "x.jpg", "", (1,)), Row("b", "val", "x.jpg", "", (1,))
    with pytest.raises(InputError) as info:
        check_table(Index(["cat"], [first, second]))
    assert str(info.value) == (
        "x.jpg is image 'a' of split train and image 'b' of split val; a photo belongs to one of them."
    )
