"""Numbers and conventions that all stages agree on."""

IGNORE = 255
"""Label of pixels that take no part: neither a loss nor a metric counts them."""

STRIDE = 4
"""Pixels of a photo per cell of the maps that pass between stages: CAMs, class boundaries and displacements."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours, 0..1, by which photos are normalised."""

EPSILON = 1e-5
"""What keeps a division by a maximum, a sum or a count of zero finite, in all formulas of the method."""

FEW_PHOTOS = 10
"""Fewer training photos of a class are learned by heart: masks of 30 photos of four classes, of 4 to 23 photos each,
spilled over in many."""

Registry = dict
"""A dictionary annotated as `Registry[str, ...]` is a table of which each run uses the entries that its settings name.

The digest of a stage's code counts these alone (see `ssc.workflow.provenance`), so that adding one reruns nothing.
"""


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


def voc_colours() -> list[str]:
    """The colours of `voc_palette` as `#rrggbb`, of label 0, of label 1, ..."""
    digits = bytes(voc_palette()).hex()
    return [f"#{digits[start : start + 6]}" for start in range(0, len(digits), 6)]
