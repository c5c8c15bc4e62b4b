"""Spatial structure constraints for weakly supervised semantic segmentation."""

import os

# How long PyTorch's threads spin while they wait for each other (GNU OpenMP's setting, read when torch is loaded). By
# its default a training slows down tenfold beside other work, or where it has more threads than cores.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def __getattr__(name: str) -> object:
    # Not at once: the reading of a workflow has no seconds for torch.
    if name == "load":
        from ssc.segmenter import load

        return load
    raise AttributeError(f"module 'ssc' has no attribute {name!r}")
