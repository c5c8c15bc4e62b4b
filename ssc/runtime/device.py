"""Where and how precisely networks run."""

import re
from contextlib import AbstractContextManager, nullcontext

import torch

from ssc.runtime.errors import InputError


def select_device(name: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:<n>`.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device is {name!r}, but PyTorch finds no CUDA device; set device: auto or cpu.")
    if name != "cpu" and not re.fullmatch(r"cuda(:\d+)?", name):
        raise InputError(f"device is {name!r}; set it to auto, cpu, cuda or cuda:<number>.")
    if (number := int(name.partition(":")[2] or 0)) and number >= torch.cuda.device_count():
        raise InputError(f"device is {name!r}, but there are {torch.cuda.device_count()} CUDA devices, from cuda:0 on.")
    return torch.device(name)


def select_precision(name: str, device: torch.device) -> str:
    """`fp32` or `bf16`, which `auto` stands for on CUDA, while it is fp32 on the CPU."""
    if name == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    return name


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Mixed precision of the forward pass: `fp32`, `bf16` or `auto`."""
    if select_precision(precision, device) == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def any_size() -> AbstractContextManager:
    """For networks that see photos as they are. For each new size cuDNN prepares its kernels, for up to seconds
    (docs/benchmarks.md); without it none are prepared."""
    return torch.backends.cudnn.flags(enabled=False)
