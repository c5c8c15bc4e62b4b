"""Any network of timm as a backbone: five maps of features, of a photo normalised as the weights expect it."""

import re
from collections.abc import Iterator
from itertools import pairwise

import timm
import torch
from timm.models._features import FeatureGetterNet
from torch import nn
from torch.nn import functional as F

from ssc.constants import MEAN, STD
from ssc.models.backbones import Backbone

_WHOLE = 32  # output stride of a convolutional network with all its strides
_PROBE = 128  # side of the photo with which a network shows what it gives


class TimmBackbone(Backbone):
    """A network of timm without its head.

    A convolutional one gives its maps of strides 2 to 32, or its stem's of stride 4 and 4 to 32, none above
    `output_stride`. A plain vision transformer has one stride: it gives the normalised tokens after each fifth of its
    blocks, of a photo that is resized so that the patches lie `output_stride` pixels apart.

    Args:
        name: timm's, with or without the tag of its weights, `<network>.<tag>`.
        output_stride: 8, 16 or 32; of a transformer the power of two next to its patch.
        dilate: see `ssc.models.backbones.backbone`.

    Raises:
        ValueError: the network cannot give such maps.
    """

    def __init__(self, name: str, *, output_stride: int, dilate: bool):
        super().__init__()
        with torch.device("meta"):
            plain = timm.create_model(name)
        self.output_stride = output_stride
        self.patch = _patch(plain)
        try:
            if self.patch:
                self.network = _transformer(name, patch=self.patch, output_stride=output_stride)
            else:
                self.network = _convolutional(name, output_stride=output_stride, dilate=dilate)
            self._blocks = _blocks_by_stage(self.network)
            # From the normalisation of all photos to the one with which the network was trained.
            mean, std = (torch.tensor(plain.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
            own_mean, own_std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
            self.register_buffer("scale", own_std / std, persistent=False)
            self.register_buffer("shift", (own_mean - mean) / std, persistent=False)
            self.cuts, self.strides = False, ()
            self.channels = self._probe()
        except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = re.sub(r"\s+", " ", str(error)).rstrip(".") or "timm does not offer it"
            raise ValueError(
                f"{name} cannot give maps of stride {output_stride} ({reason}); name another network or output_stride"
            ) from error

    def stages(self) -> list[nn.Module]:
        """The blocks of the stages; what belongs to no block, such as the embedding of positions, to the first."""
        stages = [nn.ModuleDict() for _ in self._blocks]
        for stage, names in zip(stages, self._blocks, strict=True):
            for name in names:
                stage.add_module(name.replace(".", "/"), self.network.get_submodule(name))
        inside = {id(parameter) for stage in stages for parameter in stage.parameters()}
        for name, parameter in self.network.named_parameters():
            if id(parameter) not in inside:
                stages[0].register_parameter(name.replace(".", "/"), parameter)
        return stages

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        height, width = image.shape[-2:]
        image = image * self.scale + self.shift
        if self.patch or self.cuts:
            step = self.output_stride if self.patch else _WHOLE
            image = F.pad(image, (0, -width % step, 0, -height % step))
        if self.patch:
            size = [side // self.output_stride * self.patch for side in image.shape[-2:]]
            image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        maps = list(self.network(image))
        if self.cuts:
            # No -(-height // stride): ONNX divides whole numbers towards zero.
            sizes = [((height + stride - 1) // stride, (width + stride - 1) // stride) for stride in self.strides]
            maps = [each[..., :rows, :columns] for each, (rows, columns) in zip(maps, sizes, strict=True)]
        return maps

    @torch.no_grad()
    def _probe(self) -> tuple[int, ...]:
        """Channels of the maps, after a look at their number and sizes.

        Networks whose strides leave out a row that is left over get photos that are padded to a multiple of 32.
        """
        training = self.training
        maps, larger = (
            self.eval()(torch.zeros(1, 3, side, side, device=self.scale.device)) for side in (_PROBE, _PROBE + 1)
        )
        self.train(training)
        if len(maps) != 5:
            raise ValueError(f"it has {len(maps)} maps, not 5")
        if any(each.dim() != 4 for each in maps) or maps[-1].shape[-2:] != (_PROBE // self.output_stride,) * 2:
            raise ValueError(
                f"its maps have shapes {', '.join(str(tuple(each.shape[1:])) for each in maps)} of {_PROBE} x {_PROBE}"
            )
        self.strides = tuple(_PROBE // each.shape[-1] for each in maps)
        self.cuts = any(each.shape[-1] <= _PROBE // stride for each, stride in zip(larger, self.strides, strict=True))
        return tuple(each.shape[1] for each in maps)


def whole_stride(name: str) -> int:
    """The output stride at which a network keeps all its strides."""
    with torch.device("meta"):
        patch = _patch(timm.create_model(name))
    return _WHOLE if patch is None else _power_of_two(patch)


def _patch(network: nn.Module) -> int | None:
    """Side of the patches of a plain vision transformer, in pixels; None of another network."""
    strides = [entry["reduction"] for entry in getattr(network, "feature_info", [])]
    return strides[0] if len(strides) > 5 and len(set(strides)) == 1 else None


def _power_of_two(patch: int) -> int:
    return 1 << (patch - 1).bit_length()


def _transformer(name: str, *, patch: int, output_stride: int) -> nn.Module:
    if output_stride != _power_of_two(patch):
        raise ValueError(f"its patches of {patch} pixels stand for one stride, {_power_of_two(patch)}")
    network = timm.create_model(name, dynamic_img_size=True)
    depth = len(network.feature_info)
    return FeatureGetterNet(network, out_indices=[round(depth * k / 5) - 1 for k in range(1, 6)], norm=True)


def _convolutional(name: str, *, output_stride: int, dilate: bool) -> nn.Module:
    options = {} if output_stride == _WHOLE else {"output_stride": output_stride}  # which some networks do not know
    network = timm.create_model(name, features_only=True, **options)
    if len(network.feature_info) == 4:
        names = list(network)
        stem = names[names.index(next(iter(network.return_layers))) - 1]
        network.return_layers[stem] = "stem"
    if not dilate:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.dilation != (1, 1):
                layer.dilation = (1, 1)
                if layer.padding != (0, 0):  # else it finds its padding itself
                    layer.padding = "same"
    return network


def _blocks_by_stage(network: nn.Module) -> list[list[str]]:
    """Names of the blocks, which follow each other, of the five stages: each ends with what gives its map."""
    known = dict(network.named_modules())
    ends = [
        min({own, own.replace(".", "_"), f"model.{own}"} & known.keys()) for own in network.feature_info.module_name()
    ]
    blocks = list(_blocks(network, ends))
    numbers = [[number for number, name in enumerate(blocks) if _within(name, end)] for end in ends]
    bounds = [0, *(own[-1] + 1 for own in numbers)]
    if len(ends) == 4:
        bounds.insert(1, numbers[0][0])
    return [blocks[start:end] for start, end in pairwise(bounds)]


def _blocks(module: nn.Module, ends: list[str], prefix: str = "") -> Iterator[str]:
    """Names of the parts of a module that are neither a sequence of others nor a stage."""
    for name, child in module.named_children():
        name = prefix + name
        own = [*child.parameters(recurse=False), *child.buffers(recurse=False)]
        sequence = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict) or name in ends
        if any(end.startswith(f"{name}.") for end in ends) or (sequence and not own and [*child.children()]):
            yield from _blocks(child, ends, f"{name}.")
        else:
            yield name


def _within(name: str, module: str) -> bool:
    return f"{name}.".startswith(f"{module}.")
