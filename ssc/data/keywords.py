"""Keywords that people have given to a photo, as photo managers embed them: XMP's dc:subject, IPTC's keywords."""

from collections.abc import Iterator
from pathlib import Path

from defusedxml import ElementTree
from PIL import Image
from PIL.IptcImagePlugin import getiptcinfo

from ssc.data.photos import UNREADABLE, open_photo, unreadable

_SUBJECT = ".//{http://purl.org/dc/elements/1.1/}subject//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
_IPTC_KEYWORDS = (2, 25)


def photo_keywords(path: str | Path) -> list[str]:
    """The keywords of a photo, each once, those of XMP first. Its pixels are read for a PNG alone.

    Raises:
        InputError: the file is no photo that `ssc.data.photos.open_photo` takes, or its keywords cannot be read.
    """
    with open_photo(path) as image:
        try:
            if image.format == "PNG":  # programs write them behind the pixels
                image.load()
            found = [*_xmp(image), *_iptc(image)]
        except UNREADABLE as error:
            raise unreadable(path, error) from None
    return list(dict.fromkeys(word for keyword in found if (word := " ".join(keyword.split()))))


def _xmp(image: Image.Image) -> Iterator[str]:
    if packet := image.info.get("xmp"):
        for item in ElementTree.fromstring(packet.rstrip(b"\0 ")).iterfind(_SUBJECT):
            yield item.text or ""


def _iptc(image: Image.Image) -> Iterator[str]:
    keywords = (getiptcinfo(image) or {}).get(_IPTC_KEYWORDS, [])
    for keyword in [keywords] if isinstance(keywords, bytes) else keywords:
        try:
            yield keyword.decode()
        except UnicodeDecodeError:  # older programs write their system's letters
            yield keyword.decode("latin-1")
