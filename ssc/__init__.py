"""Spatial structure constraints for weakly supervised semantic segmentation."""

import os

# How long PyTorch's threads spin while they wait for each other (GNU OpenMP's setting, read when torch is loaded). By
# its default a training slows down tenfold beside other work, or where it has more threads than cores.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
