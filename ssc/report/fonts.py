"""Fonts in which names in any script are readable: matplotlib's own, then those of the system that are there."""

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

_SYSTEM = [
    "Noto Sans CJK SC", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "PingFang SC",
    "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS",
]  # fmt: skip


@cache
def font_families() -> list[str]:
    """Names of the fonts, as matplotlib knows them, in the order in which a letter is looked for."""
    return ["DejaVu Sans", *(name for name in _SYSTEM if name in fontManager.get_font_names())]


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The first font that has all letters of a text, or most of them, at a size in pixels, for Pillow."""
    letters = set(map(ord, text))
    path = max(map(_path, font_families()), key=lambda path: len(letters & _letters(path)))
    return _font(path, size)


@cache
def _path(family: str) -> str:
    return findfont(FontProperties(family=family))


@cache
def _letters(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
