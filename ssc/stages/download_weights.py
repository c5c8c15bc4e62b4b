"""The rule `download_weights`: torchvision's ImageNet weights as safetensors."""

import re
from pathlib import Path

import torch
from safetensors.torch import save

from ssc.runtime.download import download
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic

# torchvision's first ImageNet weights, and with `_v2` its second; the digits in the file name are the start of the
# file's SHA-256.
IMAGENET_FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet50_v2": "resnet50-11ad3fa6.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet101_v2": "resnet101-cd907fc2.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}
IMAGENET_URL = "https://download.pytorch.org/models/"


def download_imagenet(name: str, output: str | Path, *, url: str = IMAGENET_URL) -> None:
    """Fetch torchvision's ImageNet weights of a network and write them as safetensors.

    Args:
        name: key of `IMAGENET_FILES`.
        output: safetensors file to write.
        url: where the files lie, with a closing slash.

    Raises:
        InputError: unknown name, the download failed, or its checksum is wrong. Nothing is left under `output`.
    """
    if name not in IMAGENET_FILES:
        raise InputError(f"No ImageNet weights are known for {name!r}; known are {', '.join(IMAGENET_FILES)}.")
    file_name = IMAGENET_FILES[name]
    digits = re.search(r"-([0-9a-f]{8})\.pth$", file_name)[1]
    fetched = Path(output).with_name(file_name)
    hint = f"put a safetensors file at {output} by hand"
    download(url + file_name, fetched, checksum=f"sha256:{digits}", hint=hint)
    try:
        state = torch.load(fetched, map_location="cpu", weights_only=True)
    finally:
        fetched.unlink()
    with atomic(output) as temporary:
        temporary.write_bytes(save({key: tensor.contiguous() for key, tensor in state.items()}))
