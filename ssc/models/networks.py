"""The table of networks: what a name in the configuration stands for. Free of torch, so that checks are quick."""

import difflib
from typing import NamedTuple

from ssc.constants import Registry


class Network(NamedTuple):
    """A backbone that the configuration may name, besides all of timm's.

    Attributes:
        builder: `<module>:<function>`; called with `name`, `output_stride` and `dilate`, it gives a network with random
            weights that maps an image (B, 3, H, W) to a list of five feature maps and has the attributes of
            `ssc.models.backbones.Backbone`.
        output_strides: those that the last map can have.
    """

    builder: str
    output_strides: tuple[int, ...]


NETWORKS: Registry[str, Network] = {
    "tiny": Network("ssc.models.backbones:ResNetBackbone", (4, 8, 16)),
    "resnet18": Network("ssc.models.backbones:ResNetBackbone", (8, 16, 32)),
    "resnet34": Network("ssc.models.backbones:ResNetBackbone", (8, 16, 32)),
    "resnet50": Network("ssc.models.backbones:ResNetBackbone", (8, 16, 32)),
    "resnet101": Network("ssc.models.backbones:ResNetBackbone", (8, 16, 32)),
    "vgg16": Network("ssc.models.backbones:VGG16Backbone", (8, 16)),
}

IMAGENET_V2 = ("resnet50", "resnet101")
"""Networks of which torchvision has a second generation of ImageNet weights."""


def check_network(name: str) -> None:
    """Look whether a name stands for a network, of the table or of timm's.

    Raises:
        ValueError: it stands for none; the nearest names are told.
    """
    if name in NETWORKS:
        return
    import timm  # with torch

    tagged = "." in name
    if timm.is_model(name) and not (tagged and name not in timm.list_pretrained()):
        return
    known = timm.list_pretrained() if tagged else [*NETWORKS, *sorted(set(timm.list_models()) - set(NETWORKS))]
    inside = sorted((own for own in known if name in own), key=len)[:3]
    near = difflib.get_close_matches(name, known, n=3) or inside
    hint = f"the nearest are {', '.join(near)}" if near else f"known are {', '.join(NETWORKS)} and all of timm's"
    raise ValueError(f"there is no network {name!r}; {hint}")
