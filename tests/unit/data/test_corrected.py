from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssc.data.corrected import check_corrected, corrected_files
from ssc.data.index import Index, read_index
from ssc.data.masks import read_labels
from ssc.runtime.errors import InputError


def save(path: Path, labels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)
    return path


@pytest.fixture
def index(tiny_set):
    """Of the photos a (48x32), b (35x29) and, of val, v (24x20); three classes."""
    table = read_index(tiny_set)
    rows = [row if row.id != "c" else type(row)("v", "val", row.image, "", ()) for row in table.rows]
    return Index(table.classes, rows)


def test_files_are_found_by_the_photos_ids(index, tmp_path):
    save(tmp_path / "mended" / "b.png", np.zeros((29, 35)))
    assert corrected_files(tmp_path / "mended", index.rows) == {"b": tmp_path / "mended" / "b.png"}
    assert corrected_files(None, index.rows) == {}


def test_a_map_of_the_photo_before_it_was_shrunk_is_shrunk(index, tmp_path):
    row = index.rows[1]
    large = np.repeat(np.repeat(np.arange(29 * 35).reshape(29, 35) % 4, 3, axis=0), 3, axis=1)
    read = read_labels(save(tmp_path / "mended" / "b.png", large), row, 3)
    np.testing.assert_array_equal(read, np.arange(29 * 35).reshape(29, 35) % 4)
    # Sides are rounded: 88 x 35 / 105 is 29.33.
    assert read_labels(save(tmp_path / "mended" / "b.png", np.zeros((88, 105))), row, 3).shape == (29, 35)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.full((29, 35), 4), r"b\.png holds the label 4; use 0\.\.3 and 255"),
        (np.zeros((35, 29)), r"b\.png is 29x35, its photo .*b\.png 35x29; restore"),
        (np.zeros((29, 36)), r"b\.png is 36x29, its photo"),  # one pixel is no shrinking
        (np.zeros((59, 70)), r"b\.png is 70x59, its photo"),  # would have become 35x30
        (np.zeros((15, 18)), r"b\.png is 18x15, its photo"),
        (np.zeros((58, 75)), r"b\.png is 75x58, its photo"),
        (np.ones((29, 35, 3)), r"b\.png has the colour #010101"),
    ],
)
def test_what_fits_no_photo_is_refused(index, tmp_path, labels, sentence):
    save(tmp_path / "mended" / "b.png", labels)
    with pytest.raises(InputError, match=sentence):
        check_corrected(index, tmp_path / "mended")


def test_a_palette_in_another_order_is_refused(index, tmp_path):
    """A painting program has given each colour another number."""
    path = tmp_path / "mended" / "b.png"
    path.parent.mkdir()
    image = Image.frombytes("P", (35, 29), bytes([0] * 500 + [1] * 515))
    image.putpalette([0, 0, 0, 0, 128, 0])  # black, and the green of class 2
    image.save(path)
    with pytest.raises(InputError, match=r"b\.png has a palette in another order than VOC's"):
        check_corrected(index, path.parent)
    image.putpalette([0, 0, 0, 1, 128, 0])  # a palette that is not VOC's at all
    image.save(path)
    assert read_labels(path, index.rows[1], 3).max() == 1


def test_classes_beyond_the_labels_are_told(index, tmp_path, capsys):
    save(tmp_path / "mended" / "b.png", np.ones((29, 35)))
    check_corrected(index, tmp_path / "mended")
    assert "1 of them show what their photos' labels lack, such as b.png, which shows orbi." in capsys.readouterr().err


def test_what_is_there_is_told(index, tmp_path, capsys):
    folder = tmp_path / "mended"
    save(folder / "a.png", np.full((32, 48), 255))
    save(folder / "v.png", np.zeros((20, 24)))
    (folder / ".hidden").write_text("")
    check_corrected(index, folder)
    told = capsys.readouterr().err
    assert "1 training photos have a corrected mask" in told and "1 others, such as v.png, are not used" in told


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (None, "is no folder; correct its path"),
        ([], "is empty; put the mended masks there, named <image id>.png"),
        (["b.png", "b_mask.png"], r"b_mask\.png is of no photo; .* such as a\.png"),
        (["sub/b.png"], r"sub/b\.png is of no photo"),
        (["b.PNG"], r"b\.PNG is of no photo"),
    ],
)
def test_a_folder_that_holds_other_things_is_refused(index, tmp_path, files, sentence):
    folder = tmp_path / "mended"
    if files is not None:
        folder.mkdir()
    for name in files or []:
        save(folder / name, np.zeros((29, 35)))
    with pytest.raises(InputError, match=sentence):
        check_corrected(index, folder)


def test_a_training_photo_comes_before_another_of_its_name(index, tmp_path, capsys):
    rows = [*index.rows, type(index.rows[0])("a", "val", index.rows[2].image, "", ())]
    save(tmp_path / "mended" / "a.png", np.zeros((32, 48)))
    check_corrected(Index(index.classes, rows), tmp_path / "mended")
    assert "1 training photos" in capsys.readouterr().err
