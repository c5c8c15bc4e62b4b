"""Numbers that all stages agree on."""

IGNORE = 255
"""Label of pixels that take no part: neither a loss nor a metric counts them."""

STRIDE = 4
"""Pixels of a photo per cell of the maps that pass between stages: CAMs, class boundaries and displacements."""
