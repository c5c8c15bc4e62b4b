"""Loss networks of the perceptual loss: frozen networks that return a list of five feature maps."""

from pathlib import Path

import torch
from torch import nn

from ssc.models.backbones import backbone as build_backbone
from ssc.models.backbones import vgg_features
from ssc.models.weights import load_backbone

_RELU_TAPS = (1, 6, 11, 20, 29)  # relu1_1, relu2_1, ..., relu5_1: what the authors' code uses
_POOL_TAPS = (2, 7, 16, 25, 34)  # the convolution before each pooling layer: the paper's wording


class VGG19Features(nn.Module):
    """Five feature maps of VGG-19 for the perceptual loss (paper section III-B).

    Args:
        taps: `relu1` for relu1_1 ... relu5_1, `pool` for the convolution before each pooling layer.
        weights: safetensors file with torchvision's VGG-19 tensors, or None for random ones.
    """

    def __init__(self, *, taps: str = "relu1", weights: str | Path | None = None):
        super().__init__()
        self.taps = {"relu1": _RELU_TAPS, "pool": _POOL_TAPS}[taps]
        self.features = vgg_features("E")[: self.taps[-1] + 1]
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # a tapped convolution must keep its values
        if weights is not None:
            load_backbone(self, weights)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """ImageNet-normalised image (B, 3, H, W) to five feature maps at strides 1, 2, 4, 8, 16."""
        maps = []
        for index, layer in enumerate(self.features):
            image = layer(image)
            if index in self.taps:
                maps.append(image)
        return maps


def loss_network(name: str, *, taps: str = "relu1", weights: str | Path | None = None) -> nn.Module:
    """Loss network by name: `vgg19`, or a backbone, whose five stages are the feature maps."""
    if name == "vgg19":
        return VGG19Features(taps=taps, weights=weights)
    network = build_backbone(name)
    if weights is not None:
        load_backbone(network, weights)
    return network
