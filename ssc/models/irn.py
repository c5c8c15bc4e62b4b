"""IRN: class-boundary map and displacement field on frozen backbone features (Ahn et al. 2019)."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import interpolate

from ssc.constants import STRIDE
from ssc.data.photos import Size
from ssc.models.backbones import backbone as build_backbone
from ssc.models.weights import load_backbone

_DISPLACEMENT_WIDTHS = (64, 128, 256, 256, 256)


class IRN(nn.Module):
    """Two heads over the five stages of a frozen backbone, both at stride 4: class boundaries and displacements.

    Args:
        backbone: name, see `ssc.models.networks.NETWORKS`.
        weights: safetensors file with the backbone's tensors, or None for random ones.
        output_stride: stride of the deepest features.
        displacement: whether there is a displacement head; pseudo-labels do without.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str | Path | None = None,
        *,
        output_stride: int = 16,
        displacement: bool = True,
    ):
        super().__init__()
        self.backbone = build_backbone(backbone, output_stride=output_stride).requires_grad_(False)
        channels = self.backbone.channels
        self.edge = nn.ModuleList(_head(c, 32, groups=4) for c in channels)
        self.edge_fuse = nn.Conv2d(5 * 32, 1, 1)
        self.has_displacement = displacement
        if displacement:
            self._add_displacement(channels)
        if weights is not None:
            load_backbone(self.backbone, weights)

    def _add_displacement(self, channels: Sequence[int]) -> None:
        widths = _DISPLACEMENT_WIDTHS
        self.displacement = nn.ModuleList(
            _head(c, width, groups=8 if width == 64 else 16) for c, width in zip(channels, widths, strict=True)
        )
        self.displacement_deep = _head(sum(widths[2:]), 256, groups=16)
        self.displacement_fuse = nn.Sequential(
            _head(widths[0] + widths[1] + 256, 256, groups=16), nn.ReLU(), nn.Conv2d(256, 2, 1, bias=False)
        )
        self.register_buffer("displacement_mean", torch.zeros(2))

    def train(self, mode: bool = True) -> "IRN":
        """Training or evaluation mode of the heads; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def edge_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the edge head."""
        return chain(self.edge.parameters(), self.edge_fuse.parameters())

    def displacement_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the displacement head, where there is one."""
        parts = (self.displacement, self.displacement_deep, self.displacement_fuse)
        return chain(*(part.parameters() for part in parts))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Image (B, 3, H, W) to edge logits (B, 1, h, w) and displacements (B, 2, h, w), (y, x) in pixels of
        that map, or None without a displacement head; h = ceil(H / 4), w = ceil(W / 4). In evaluation mode the mean
        over the training set is subtracted from the displacements."""
        features, size = self._features(image), _size_at_stride(image)
        edges = self._edges(features, size)
        return edges, self._displacements(features, size) if self.has_displacement else None

    def edges(self, image: torch.Tensor) -> torch.Tensor:
        """The edge logits alone: the other head, by far the larger, is not asked."""
        return self._edges(self._features(image), _size_at_stride(image))

    @torch.no_grad()
    def _features(self, image: torch.Tensor) -> list[torch.Tensor]:
        return self.backbone(image)

    def _edges(self, features: list[torch.Tensor], size: Size) -> torch.Tensor:
        edge = [_resize(head(x), size).relu() for head, x in zip(self.edge, features, strict=True)]
        return self.edge_fuse(torch.cat(edge, dim=1))

    def _displacements(self, features: list[torch.Tensor], size: Size) -> torch.Tensor:
        heads = [head(x) for head, x in zip(self.displacement, features, strict=True)]
        middle = heads[2].shape[-2:]
        deep = self.displacement_deep(torch.cat([_resize(x, middle).relu() for x in heads[2:]], dim=1))
        shallow = [_resize(x, size).relu() for x in (*heads[:2], deep)]
        displacement = self.displacement_fuse(torch.cat(shallow, dim=1))
        if not self.training:
            displacement = displacement - self.displacement_mean.view(1, 2, 1, 1)
        return displacement


def _size_at_stride(image: torch.Tensor) -> Size:
    height, width = image.shape[-2:]
    return -(-height // STRIDE), -(-width // STRIDE)


def _head(inputs: int, outputs: int, *, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.GroupNorm(groups, outputs))


def _resize(x: torch.Tensor, size: Size) -> torch.Tensor:
    """Bilinear by the power of two that covers `size`, then cut to it [R]; a larger map is resized to it."""
    if x.shape[-2] > size[0]:
        return interpolate(x, size=size, mode="bilinear", align_corners=False)
    factor = 1
    while factor * x.shape[-2] < size[0] or factor * x.shape[-1] < size[1]:
        factor *= 2
    if factor > 1:
        x = interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return x[..., : size[0], : size[1]]
