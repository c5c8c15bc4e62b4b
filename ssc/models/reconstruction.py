"""The reconstruction network of CDR: from class-aware feature maps back to the image (paper section III-B)."""

from itertools import pairwise

import torch
from torch import nn


class LayerNorm(nn.Module):
    """Normalises each sample over (C, H, W): (x - mean) / (unbiased std + 1e-5), affine per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        return (x - mean) / (std + 1e-5) * self.gamma.view(-1, 1, 1) + self.beta.view(-1, 1, 1)


class ConvBlock(nn.Module):
    """3x3 convolution, `LayerNorm`, and ReLU if `activate`; the border is zero, or mirrored with `reflect`."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, activate: bool = True, reflect: bool = False):
        super().__init__()
        mode = "reflect" if reflect else "zeros"
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=mode, bias=bias)
        self.norm = LayerNorm(outputs)
        self.activate = activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return torch.relu(x) if self.activate else x


class UpsampleBlock(nn.Module):
    """Doubles the resolution: 4x4 transposed convolution, instance norm, ReLU, `ConvBlock`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs, 4, stride=2, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(inputs)
        self.conv = ConvBlock(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.relu(self.norm(self.up(x))))


class ReconstructionNet(nn.Module):
    """Feature maps (B, C, h, w) to an image (B, 3, h * 2^n, w * 2^n) in -1..1, n = number of up-samplings.

    Args:
        num_classes: input channels C: all class maps, not only those of present classes.
        width: channels of the first blocks; 256 in the paper.
        upsamplings: number n of doublings, 4 for features of stride 16. Channels: width, width, width/2, ...
    """

    def __init__(self, num_classes: int, *, width: int = 256, upsamplings: int = 4):
        super().__init__()
        self.head = ConvBlock(num_classes, width, bias=False, reflect=True)
        self.residual = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width, activate=False))
        widths = [width, *(width >> n for n in range(upsamplings))]
        self.upsample = nn.Sequential(*(UpsampleBlock(a, b) for a, b in pairwise(widths)))
        self.tail = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.head(features)
        return torch.tanh(self.tail(self.upsample(x + self.residual(x))))


def decoder_input(third: torch.Tensor, features: torch.Tensor, *, source: str, rectify: bool) -> torch.Tensor:
    """What the reconstruction net reads of a classifier's two outputs (see `CAMClassifier.stages`).

    Args:
        third: features that enter the last stage (B, D, h', w').
        features: class-aware maps f (B, C, h, w).
        source: `last` for f (paper eq. 4), `early` for the third stage (Table VII).
        rectify: take relu(f), the activation that the CAM shows, in place of f; of no effect on `early`.
    """
    if source == "early":
        return third
    return features.relu() if rectify else features
