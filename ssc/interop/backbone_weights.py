"""Checkpoints of whole networks, torchvision's or timm's, as weights of a backbone."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from ssc.interop.released_weights import read_checkpoint, single_network
from ssc.models.networks import NETWORKS, check_network
from ssc.models.perceptual import loss_network
from ssc.models.weights import load_tensors
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic

# A tensor of the first PyTorch port of EfficientNet: its checkpoints hold timm's tensors, in timm's order, under other
# names.
_PORTED = "_conv_stem.weight"


def import_backbone(source: str | Path, output: str | Path, network: str) -> None:
    """Write the tensors of a checkpoint that belong to a backbone, or to a loss network, as safetensors.

    Args:
        source: checkpoint of the network, .pth or .safetensors, with the names of torchvision or of timm; tensors may
            lie under `state_dict` or `model`.
        output: safetensors file to write.
        network: `vgg19`, a name of `ssc.models.networks.NETWORKS`, or one of timm's.

    Raises:
        InputError: no such network, or a file that is absent, unreadable, or another network's.
    """
    content = read_checkpoint(source)
    tensors = single_network(next((content[key] for key in ("state_dict", "model") if key in content), content), source)
    if network == "vgg19" or network in NETWORKS:
        module = loss_network(network, taps="pool")  # the longer part of vgg19
        load_tensors(module, tensors, source)
    else:
        module = _timm_backbone(network, tensors, source)
    with atomic(output) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))


def _timm_backbone(network: str, tensors: Mapping[str, torch.Tensor], source: str | Path) -> nn.Module:
    import timm

    from ssc.models.timm_networks import TimmBackbone, whole_stride

    try:
        check_network(network)
        module = TimmBackbone(network, output_stride=whole_stride(network), dilate=False)
    except ValueError as error:
        raise InputError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    own = timm.create_model(network)
    names, classifier = own.state_dict(), own.pretrained_cfg["classifier"] or ()
    if _PORTED in tensors and len(names) == len(tensors):
        tensors = dict(zip(names, tensors.values(), strict=True))
    # The head may be absent, or of other classes.
    heads = tuple(f"{head}." for head in ([classifier] if isinstance(classifier, str) else classifier))
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(heads)}
    tensors |= {name: tensor for name, tensor in names.items() if name.startswith(heads)}
    try:
        # With timm's own reading of older files.
        whole = timm.create_model(network, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(tensors)})
    except RuntimeError as error:
        first = re.search(r'"([\w.]+)"|size mismatch for ([\w.]+)', str(error))
        named = f"; the first tensor that does not fit is {first[1] or first[2]}" if first else ""
        raise InputError(f"{source} is no checkpoint of timm's {network}{named}; name its own network.") from None
    # timm's feature networks have the same tensors by flatter names.
    known = {_flat(name): tensor for name, tensor in whole.state_dict().items()}
    own = {name: _flat(name.removeprefix("network.").removeprefix("model.")) for name in module.state_dict()}
    module.load_state_dict({name: known[key] for name, key in own.items()})
    return module


def _flat(name: str) -> str:
    return re.sub(r"[._]+", ".", name)
