import numpy as np
import pytest
from PIL import Image, ImageDraw

from ssc.report.fonts import font_families, font_for


def drawn(text: str) -> np.ndarray:
    image = Image.new("L", (40, 40))
    ImageDraw.Draw(image).text((4, 4), text, 255, font_for(text, 24))
    return np.asarray(image)


@pytest.mark.parametrize("letter", "üßçñøłčğœшδ")
def test_letters_of_european_scripts_are_drawn(letter):
    missing = drawn("\U0010fffd")  # which no font has: a box
    assert drawn(letter).any() and not np.array_equal(drawn(letter), missing)


def test_a_text_that_no_font_has_is_still_drawn():
    assert font_families()[0] == "DejaVu Sans"
    assert font_for("\U0010fffd", 13).getlength("\U0010fffd") > 0
    assert font_for("", 13).getlength("") == 0
