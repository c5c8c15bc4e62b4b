"""Backbones: five stages of features, with tensor names equal to torchvision's.

`resnet18` to `resnet101` and `vgg16` are torchvision's networks; `tiny` is the small residual network of the demo. All
other names are timm's, see `ssc.models.timm_networks`.
"""

from pkgutil import resolve_name

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import cfgs, make_layers

from ssc.models.networks import NETWORKS, check_network


class Backbone(nn.Module):
    """A network that maps an image (B, 3, H, W) to the feature maps of five stages.

    Attributes:
        channels: feature channels of the stages.
        large_field_of_view: whether DeepLabV2 on it has the branches of VGG16 (Chen et al. 2017, DeepLab-LargeFOV).
    """

    channels: tuple[int, ...]
    large_field_of_view = False

    def stages(self) -> list[nn.Module]:
        """The stages in the order in which they follow each other."""
        raise NotImplementedError

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for stage in self.stages():
            features.append(stage(features[-1] if features else image))
        return features


class ResNetBackbone(Backbone):
    """Stem and four residual stages."""

    def __init__(self, name: str, *, output_stride: int, dilate: bool):
        super().__init__()
        network = _TinyResNet() if name == "tiny" else getattr(torchvision.models, name)(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        layers = (self.layer1, self.layer2, self.layer3, self.layer4)
        stride = 4 if name != "tiny" else 2
        for layer in layers:
            stride *= layer[0].stride
            if stride > output_stride:
                _drop_stride(layer, dilation=stride // output_stride if dilate else 1)
        self.channels = (self.bn1.num_features, *(_out_channels(layer) for layer in layers))

    def stages(self) -> list[nn.Module]:
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return [stem, self.layer1, self.layer2, self.layer3, self.layer4]


class VGG16Backbone(Backbone):
    """The thirteen convolutions of VGG16 as five stages.

    A stage ends before its pooling layer and the next begins with it; where `output_stride` is reached, pooling
    keeps the resolution (3x3, stride 1), as DeepLab's VGG16 does, and later convolutions are dilated if asked.
    """

    large_field_of_view = True

    def __init__(self, name: str = "vgg16", *, output_stride: int, dilate: bool):
        super().__init__()
        self.features = vgg_features("D")[:-1]
        self._ends = []
        stride, dilation = 1, 1
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.MaxPool2d):
                self._ends.append(index)
                if stride < output_stride:
                    stride *= 2
                else:
                    self.features[index] = nn.MaxPool2d(3, stride=1, padding=1)
                    dilation *= 2 if dilate else 1
            elif isinstance(layer, nn.Conv2d):
                layer.dilation, layer.padding = (dilation, dilation), (dilation, dilation)
        self._ends.append(len(self.features))
        self.channels = (64, 128, 256, 512, 512)

    def stages(self) -> list[nn.Module]:
        return [self.features[a:b] for a, b in zip([0, *self._ends], self._ends, strict=False)]


def backbone(name: str, *, output_stride: int = 16, dilate: bool = False) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: one of `ssc.models.networks.NETWORKS`, or of timm's.
        output_stride: one that the network has; strides beyond it are dropped from the last stages.
        dilate: replace dropped strides by dilation, in all blocks of a stage alike (DeepLab) [R]; without it the
            receptive field shrinks (classifier).

    Raises:
        ValueError: unknown name or output stride.
    """
    check_network(name)
    if name not in NETWORKS:
        from ssc.models.timm_networks import TimmBackbone

        return TimmBackbone(name, output_stride=output_stride, dilate=dilate)
    network = NETWORKS[name]
    if output_stride not in network.output_strides:
        raise ValueError(f"{name} has output strides {network.output_strides}, not {output_stride}")
    return resolve_name(network.builder)(name, output_stride=output_stride, dilate=dilate)


def vgg_features(configuration: str) -> nn.Sequential:
    """Convolutional part of a VGG network, without the half gigabyte of its fully connected layers.

    Args:
        configuration: `D` for VGG16, `E` for VGG19.
    """
    layers = make_layers(cfgs[configuration])
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return layers


def freeze_batch_norm(module: nn.Module, *, affine: bool = False) -> None:
    """Put every batch norm below `module` into evaluation mode; with `affine`, stop its weight and bias too."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
            if affine:
                layer.requires_grad_(False)


class _TinyResNet(nn.Module):
    """Residual network of the demo: 3x3 stem of stride 2, eight 3x3 convolutions, at most 64 channels."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
        self.layer1 = _basic_layer(16, 24, stride=2)
        self.layer2 = _basic_layer(24, 32, stride=2)
        self.layer3 = _basic_layer(32, 48, stride=2)
        self.layer4 = _basic_layer(48, 64, stride=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _basic_layer(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut))


def _out_channels(layer: nn.Sequential) -> int:
    return [m.num_features for m in layer[-1].children() if isinstance(m, nn.BatchNorm2d)][-1]


def _drop_stride(layer: nn.Sequential, *, dilation: int) -> None:
    """Set the strides of a residual stage to 1 and dilate its 3x3 convolutions."""
    for conv in layer.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride = (1, 1)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)
