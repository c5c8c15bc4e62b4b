"""Backbones: five stages of features, with tensor names equal to torchvision's.

`resnet18` to `resnet101` and `vgg16` are torchvision's, written out here because its import costs each job more than
a second; `tiny` is the small residual network of the demo. All other names are timm's, see `ssc.models.timm_networks`.
"""

from pkgutil import resolve_name

import torch
from torch import nn

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
    """Stem and four residual stages (He et al. 2016); `tiny`: 3x3 stem of stride 2, eight 3x3 convolutions, at most 64
    channels."""

    def __init__(self, name: str, *, output_stride: int, dilate: bool):
        super().__init__()
        tiny = name == "tiny"
        depths, block = ((1, 1, 1, 1), BasicBlock) if tiny else _RESNETS[name]
        widths = (24, 32, 48, 64) if tiny else (64, 128, 256, 512)
        strides = (2, 2, 2, 1) if tiny else (1, 2, 2, 2)
        stem = 16 if tiny else 64
        self.conv1 = nn.Conv2d(3, stem, 3 if tiny else 7, stride=2, padding=1 if tiny else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if tiny else nn.MaxPool2d(3, stride=2, padding=1)
        channels = [stem]
        for number, (width, depth, stride) in enumerate(zip(widths, depths, strides, strict=True), start=1):
            outputs = width * block.expansion
            blocks = [block(channels[-1], width, stride), *(block(outputs, width, 1) for _ in range(depth - 1))]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            channels.append(outputs)
        self.channels = tuple(channels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        reached = 2 if tiny else 4
        for stage, stride in zip(self.stages()[1:], strides, strict=True):
            reached *= stride
            if reached > output_stride:
                _drop_stride(stage, dilation=reached // output_stride if dilate else 1)

    def stages(self) -> list[nn.Module]:
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return [stem, self.layer1, self.layer2, self.layer3, self.layer4]


class BasicBlock(nn.Module):
    """relu(x + f(x)) with two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        shortcut = _shortcut(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (self.downsample(x) if self.downsample else x))


class Bottleneck(nn.Module):
    """relu(x + f(x)) with 1x1, 3x3, which has the stride, and 1x1 convolutions to four times the width."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        shortcut = _shortcut(inputs, 4 * width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (self.downsample(x) if self.downsample else x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


_RESNETS = {
    "resnet18": ((2, 2, 2, 2), BasicBlock),
    "resnet34": ((3, 4, 6, 3), BasicBlock),
    "resnet50": ((3, 4, 6, 3), Bottleneck),
    "resnet101": ((3, 4, 23, 3), Bottleneck),
}


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


_VGG_DEPTHS = {"D": (2, 2, 3, 3, 3), "E": (2, 2, 4, 4, 4)}


def vgg_features(configuration: str) -> nn.Sequential:
    """Convolutional part of a VGG network, without the half gigabyte of its fully connected layers.

    Args:
        configuration: `D` for VGG16, `E` for VGG19.
    """
    layers, inputs = [], 3
    for width, depth in zip((64, 128, 256, 512, 512), _VGG_DEPTHS[configuration], strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
            nn.init.kaiming_normal_(layers[-2].weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layers[-2].bias)
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def freeze_batch_norm(module: nn.Module, *, affine: bool = False) -> None:
    """Put every batch norm below `module` into evaluation mode; with `affine`, stop its weight and bias too."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
            if affine:
                layer.requires_grad_(False)


def _drop_stride(layer: nn.Sequential, *, dilation: int) -> None:
    """Set the strides of a residual stage to 1 and dilate its 3x3 convolutions."""
    for conv in layer.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride = (1, 1)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)
