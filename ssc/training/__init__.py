"""Training loops: classifier, IRN, segmentation. Each reads from top to bottom; what they share is in `common`.

`launch` runs one of them in one process or several.
"""
