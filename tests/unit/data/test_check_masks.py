"""Masks that contradict labels or their own colours."""

import numpy as np
import pytest
from PIL import Image

from ssc.constants import voc_palette
from ssc.data.check_masks import check_masks
from ssc.data.index import Index, Row
from ssc.runtime.errors import InputError

CLASSES = ["cat", "dog", "hen"]


@pytest.fixture
def index(tmp_path):
    """Makes an index of masks, each given as labels of the photo and values of the mask, with a palette if wanted."""

    def make(*masks: tuple[tuple, tuple], palette=None, classes=CLASSES) -> Index:
        rows = []
        for k, (labels, values) in enumerate(masks):
            image = Image.fromarray(np.array([values] * 2, np.uint8))
            if palette:
                image = image.convert("P")
                image.putpalette(palette)
            image.save(tmp_path / f"{k}.png")
            rows.append(Row(f"{k}", "train", f"{k}.jpg", str(tmp_path / f"{k}.png"), labels))
        return Index(classes, rows)

    return make


@pytest.mark.parametrize("palette", [None, voc_palette()])
def test_masks_that_fit_are_passed_in_silence(index, capsys, palette):
    check_masks(
        index(((1,), (0, 1, 255)), ((1, 2), (1, 2)), ((1, 2), (0, 2)), ((), (0,)), ((), (0, 3)), palette=palette)
    )
    assert capsys.readouterr().err == ""


def test_an_instances_json_is_left_alone():
    check_masks(Index(CLASSES, [Row("a", "train", "a.jpg", "gone.json", (1,))]))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([((1,), (0, 255))], r"No mask shows a class: .*0.png holds 0 .background. and 255 .ignored. alone. These "),
        ([((), (0, 255)), ((), (0,))], "No mask shows a class"),
        ([((1,), (0, 1)), ((2,), (0, 254))], r"1.png of 1 holds 254, which is no class. These are black and white"),
        ([((1,), (0, 1)), ((2,), (0, 7))], r"1.png of 1 holds 7, which is no class. Here 1 is cat, 2 is dog, 3"),
        (
            [((1,), (0, 2)), ((2,), (0, 3)), ((3,), (0, 1))],
            r"3 of 3 masks contradict .*0.png holds 0 \(background\) and 2 \(dog\), the labels of 0 are cat \(1\)",
        ),
        ([((1, 2), (2, 3)), ((2, 3), (1, 3)), ((1, 2), (0, 2, 1))], "2 of 3 masks contradict"),
        ([((1,), (0, 255)), ((1,), (0, 255)), ((2,), (0, 2))], "2 of 3 masks contradict"),
    ],
)  # fmt: skip
def test_masks_that_mean_something_else_are_refused(index, masks, message):
    with pytest.raises(InputError, match=message):
        check_masks(index(*masks))


@pytest.mark.parametrize("strange", [((1,), (0, 2)), ((1,), (0, 255)), ((1,), (0, 1, 3))])
def test_single_contradictions_are_told(index, capsys, strange):
    check_masks(index(strange, ((1,), (0, 1)), ((2,), (0, 2))))
    assert capsys.readouterr().err.startswith("Warning: 1 of 3 masks contradict their photos' labels: ")


def test_incomplete_labels_are_no_wrong_masks(index, capsys):
    check_masks(index(((1,), (0, 1, 2)), ((1,), (1, 3)), ((2,), (0, 2, 3))))
    assert "3 of 3" in capsys.readouterr().err


def test_a_palette_that_was_sorted_anew_is_seen(index):
    """As optimisers of PNG do: the pixels keep their colours, the values that stand for them change."""
    colours = np.array(voc_palette()).reshape(256, 3)
    colours[[1, 3]] = colours[[3, 1]]
    sorted_anew = colours.ravel().tolist()
    for labels in ((1,), ()):
        with pytest.raises(
            InputError, match=r"By the colours of its palette it shows 0 \(background\) and 1 \(cat\): a"
        ):
            check_masks(index((labels, (0, 3)), palette=sorted_anew))


def test_colours_of_ones_own_are_no_fault(index, capsys):
    """With labels that fit, or colours that are not VOC's, a palette says nothing."""
    own = [0, 0, 0, 0, 128, 0, 128, 0, 0, 255, 255, 255]
    check_masks(index(((1,), (0, 1)), ((2,), (0, 2)), palette=own))
    check_masks(index(((), (0, 3)), palette=own))
    assert capsys.readouterr().err == ""
