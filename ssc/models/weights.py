"""Weight files: safetensors with the options that rebuild the network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic

Model = TypeVar("Model", bound=nn.Module)


def save_weights(path: str | Path, parts: dict[str, tuple[nn.Module, dict]], **facts: object) -> None:
    """Write networks as one safetensors file, atomically.

    Args:
        path: output file.
        parts: by name, a network and the keyword arguments of its constructor, from which `load_part` builds it again.
        facts: JSON values kept in the header (class names, settings).
    """
    tensors, header = {}, {"parts": {}, "facts": facts}
    for name, (module, options) in parts.items():
        header["parts"][name] = {"model": type(module).__name__, "options": options}
        for key, tensor in module.state_dict().items():
            tensors[f"{name}.{key}"] = tensor.detach().cpu().contiguous()
    _write(path, tensors, header)


def rename_classes(path: str | Path, classes: Sequence[str]) -> None:
    """Give the fact `classes` of a file of `save_weights` another value, atomically; the tensors stay as they are.

    The file is then as if it had been written with these names.

    Raises:
        InputError: see `read_header`.
    """
    header = read_header(path)
    header["facts"]["classes"] = list(classes)
    _write(path, _tensors(path), header)


def read_header(path: str | Path) -> dict:
    """Header of a file of `save_weights`: `parts` (name to model and options) and `facts`.

    Raises:
        InputError: the file is absent, no safetensors file, or not one of ours.
    """
    with _open(path) as file:
        metadata = file.metadata() or {}
    if "ssc" not in metadata:
        raise InputError(f"{path} was not written by ssc; name a weight file of this project.")
    return json.loads(metadata["ssc"])


def network_words(path: str | Path) -> list[str]:
    """The names, such as of backbones, that the networks of a file of `save_weights` are built from."""
    options = [part["options"] for part in read_header(path)["parts"].values()]
    return sorted({value for own in options for value in own.values() if isinstance(value, str)})


def load_part(path: str | Path, name: str, kind: type[Model], *, device: torch.device | str = "cpu") -> Model:
    """Build one network of a weight file and load its tensors; returned in evaluation mode.

    Raises:
        InputError: the file holds no such part of that kind, or its tensors do not fit.
    """
    parts = read_header(path)["parts"]
    if parts.get(name, {}).get("model") != kind.__name__:
        found = ", ".join(f"{key} ({part['model']})" for key, part in parts.items())
        raise InputError(f"{path} holds no {name} ({kind.__name__}) but {found}; name the right weight file.")
    model = kind(**parts[name]["options"])
    load_whole(model, path, name)
    # The layout that the convolution libraries run fastest in, on CPUs by several times.
    return model.to(device, memory_format=torch.channels_last).eval()


def load_whole(model: nn.Module, path: str | Path, name: str) -> None:
    """Load all tensors of the part `name` of a file of `save_weights` into a network that exists already.

    Raises:
        InputError: the file holds no such part, or its tensors do not fit.
    """
    load_tensors(model, _tensors(path), path, prefix=f"{name}.")


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Load a backbone from a weight file: torchvision's names, or the backbone of one of our networks.

    Other tensors, such as a classification head, are left out.

    Raises:
        InputError: a tensor is missing or has another shape; the first one is named.
    """
    tensors = _tensors(path)
    first = next(iter(backbone.state_dict()))
    ending = f"backbone.{first}"
    prefixes = [name.removesuffix(first) for name in tensors if name == ending or name.endswith(f".{ending}")]
    load_tensors(backbone, tensors, path, prefix=prefixes[0] if prefixes else "")


def _write(path: str | Path, tensors: dict[str, torch.Tensor], header: dict) -> None:
    # One JSON string: safetensors does not keep the order of several header entries.
    payload = save(tensors, metadata={"ssc": json.dumps(header, sort_keys=True)})
    with atomic(path) as temporary:
        temporary.write_bytes(payload)


def _open(path: str | Path):
    try:
        return safe_open(str(path), framework="pt")
    except FileNotFoundError:
        raise InputError(f"The weight file {path} does not exist.") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}).") from None


def _tensors(path: str | Path) -> dict[str, torch.Tensor]:
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor], path: str | Path, *, prefix: str = "") -> None:
    """Load the tensors `<prefix><name>` into a network; others are left out.

    Args:
        path: where they came from, for messages.

    Raises:
        InputError: a tensor is missing or has another shape; the first one is named.
    """
    state = {}
    for name, own in module.state_dict().items():
        tensor = tensors.get(prefix + name)
        if tensor is None:
            if not name.endswith("num_batches_tracked"):  # absent from old files, and of no effect here
                hint = "it belongs to another network"
                if name.startswith("network."):
                    hint += ", or is a checkpoint of timm's, which `ssc import-weights backbone` takes"
                raise InputError(f"{path} lacks the tensor {prefix}{name}; {hint}.")
            tensor = own
        if tensor.shape != own.shape:
            raise InputError(
                f"{path}: tensor {prefix}{name} has shape {tuple(tensor.shape)}, the network needs {tuple(own.shape)}; "
                "check the backbone and the number of classes."
            )
        state[name] = tensor
    module.load_state_dict(state)
