"""The colours in which label maps are stored and shown."""


def voc_palette() -> list[int]:
    """Return the PASCAL VOC colour map as 768 integers 0..255: red, green, blue of label 0, of label 1, ...

    The three lowest bits of a label go to the highest bits of red, green and blue, the next three bits to the
    second highest, and so on, so that neighbouring labels get distant colours. Label 0 is black and label 255
    (ignore) a pale cream. The list is what `PIL.Image.Image.putpalette` takes.
    """
    return [
        sum(((label >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8))
        for label in range(256)
        for channel in range(3)
    ]
