"""DeepLabV2 (Chen et al. 2017): dilated backbone and atrous spatial pyramid pooling by summation."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ssc.models.backbones import backbone as build_backbone
from ssc.models.weights import load_backbone, load_part, read_header
from ssc.runtime.device import autocast

_FC_WIDTH = 1024


class DeepLabV2(nn.Module):
    """Image (B, 3, H, W) to logits (B, num_classes, h, w) at the output stride.

    Args:
        num_classes: classes with background.
        backbone: name, see `ssc.models.networks.NETWORKS`. `vgg16` gets its fifth pooling at
            stride 1 and the large-field-of-view fc6 and fc7 in each branch, the residual networks one 3x3 convolution.
        weights: safetensors file with the backbone's tensors, or None for random ones.
        output_stride: 8 or 16 (4 too for `tiny`).
        rates: dilations of the branches.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        weights: str | Path | None = None,
        *,
        output_stride: int = 8,
        rates: tuple[int, ...] = (6, 12, 18, 24),
    ):
        super().__init__()
        self.backbone = build_backbone(backbone, output_stride=output_stride, dilate=True)
        large = self.backbone.large_field_of_view
        self.pool = nn.MaxPool2d(3, stride=1, padding=1) if large else nn.Identity()
        branch = _large_field_of_view if large else _branch
        self.aspp = nn.ModuleList(branch(self.backbone.channels[-1], num_classes, rate) for rate in rates)
        for layer in self.aspp.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
        if weights is not None:
            load_backbone(self.backbone, weights)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.pool(self.backbone(image)[-1])
        return sum(branch(features) for branch in self.aspp)


def mean_logits(
    networks: Sequence[DeepLabV2], image: torch.Tensor, *, size: tuple[int, int] | None = None, precision: str
) -> torch.Tensor:
    """Mean of the networks' logits for images (B, 3, h, w), float32 (B, K, *size), interpolated bilinearly; None leaves
    them at the output stride."""
    with autocast(image.device, precision):
        logits = [network(image) for network in networks]
    mean = sum(each.float() for each in logits) / len(networks)
    return mean if size is None else F.interpolate(mean, size=size, mode="bilinear", align_corners=False)


@contextmanager
def evaluating(networks: Sequence[DeepLabV2]) -> Iterator[None]:
    """Networks in evaluation mode; afterwards each layer is in the mode it was in (batch norms may be frozen)."""
    trained = [layer for network in networks for layer in network.modules() if layer.training]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for layer in trained:
            layer.training = True


def load_networks(path: str | Path, *, device: torch.device | str = "cpu") -> list[DeepLabV2]:
    """The segmentation network of a weight file, or both networks of a co-trained pair, in evaluation mode.

    Raises:
        InputError: the file holds no segmentation network, or its tensors do not fit.
    """
    paired = "segmentation_2" in read_header(path)["parts"]
    names = ["segmentation", "segmentation_2"] if paired else ["segmentation"]
    return [load_part(path, name, DeepLabV2, device=device) for name in names]


def _branch(inputs: int, outputs: int, rate: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate)


def _large_field_of_view(inputs: int, outputs: int, rate: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, _FC_WIDTH, 3, padding=rate, dilation=rate),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Conv2d(_FC_WIDTH, _FC_WIDTH, 1),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Conv2d(_FC_WIDTH, outputs, 1),
    )
