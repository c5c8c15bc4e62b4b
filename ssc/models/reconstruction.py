"""The reconstruction network of CDR: from class-aware feature maps back to the image (paper section III-B)."""

from itertools import pairwise

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

_EPS = 1e-5


class LayerNorm(nn.Module):
    """Normalises each sample over (C, H, W): (x - mean) / (unbiased std + 1e-5), affine per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Normalise.apply(x, self.gamma.view(-1, 1, 1), self.beta.view(-1, 1, 1))


class _Normalise(torch.autograd.Function):
    """Layer norm that saves its input alone, and passes over it a third as often as the graph of its formula."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        std, mean = torch.std_mean(x.to(gamma.dtype), dim=(1, 2, 3), keepdim=True)
        scale = gamma / (std + _EPS)
        ctx.save_for_backward(x, gamma, std, mean)
        return torch.addcmul(beta - mean * scale, x, scale).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, gamma, std, mean = ctx.saved_tensors
        inverse = 1 / (std + _EPS)
        count = x[0].numel()
        # Per sample and channel: sums of the gradient, alone and times the normalised input.
        alone = gradient.sum(dim=(2, 3), keepdim=True, dtype=gamma.dtype)
        product = (gradient * x).sum(dim=(2, 3), keepdim=True, dtype=gamma.dtype)
        product = (product - mean * alone) * inverse
        through_mean = (gamma * alone).sum(dim=1, keepdim=True) * inverse / count
        through_std = (gamma * product).sum(dim=1, keepdim=True) * inverse / (std * (count - 1))
        result = torch.addcmul(mean * through_std - through_mean, x, -through_std)
        result = result.addcmul_(gradient, gamma * inverse).to(x.dtype)
        return result, product.sum(dim=0), alone.sum(dim=0)


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
        self.conv = ConvBlock(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        # As groups of one channel: unlike torch's instance norm this keeps the memory layout. Autocast would make a
        # copy in full precision, though the kernel reads half precision. The meta device knows no autocast.
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):
            x = F.group_norm(x, x.shape[1])
        return self.conv(torch.relu(x))


class ReconstructionNet(nn.Module):
    """Feature maps (B, C, h, w) to an image (B, 3, h * 2^n, w * 2^n) in -1..1, n = number of up-samplings.

    Args:
        num_classes: input channels C: all class maps, not only those of present classes.
        gamma: initial scales of the layer norms: `one`, or `uniform` in 0..1 [R].
        width: channels of the first blocks; 256 in the paper.
        upsamplings: number n of doublings, 4 for features of stride 16. Channels: width, width, width/2, ...

    Attributes:
        recompute: whether the up-sampling blocks are computed again in the backward pass instead of saving their
            activations.
    """

    def __init__(self, num_classes: int, gamma: str = "one", *, width: int = 256, upsamplings: int = 4):
        super().__init__()
        self.head = ConvBlock(num_classes, width, bias=False, reflect=True)
        self.residual = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width, activate=False))
        widths = [width, *(width >> n for n in range(upsamplings))]
        self.upsample = nn.Sequential(*(UpsampleBlock(a, b) for a, b in pairwise(widths)))
        self.tail = nn.Conv2d(widths[-1], 3, 3, padding=1)
        self.recompute = False
        if gamma not in ("one", "uniform"):
            raise ValueError(f"gamma is {gamma!r}, not one or uniform")
        if gamma == "uniform":
            for layer in self.modules():
                if isinstance(layer, LayerNorm):
                    nn.init.uniform_(layer.gamma)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.head(features)
        x = x + self.residual(x)
        for block in self.upsample:
            # Nothing random happens in a block.
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False) if self.recompute else block(x)
        return torch.tanh(self.tail(x))


def decoder_input(third: torch.Tensor, features: torch.Tensor, *, source: str, rectify: bool) -> torch.Tensor:
    """What the reconstruction net reads of a classifier's two outputs (see `CAMClassifier.forward_features`).

    Args:
        third: features that enter the last stage (B, D, h', w').
        features: class-aware maps f (B, C, h, w).
        source: `last` for f (paper eq. 4), `early` for the third stage (Table VII).
        rectify: take relu(f), the activation that the CAM shows, in place of f; of no effect on `early`.
    """
    if source == "early":
        return third
    return features.relu() if rectify else features
