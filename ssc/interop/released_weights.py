"""The checkpoints that the authors published, and others of the same code, as weight files of this project.

The released networks register most layers under several names, so that one tensor stands in a file several times. The
tables below say which of their names each of ours has.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ssc.data.index import read_classes
from ssc.data.voc import VOC_CLASSES
from ssc.models.classifier import CAMClassifier
from ssc.models.deeplab import DeepLabV2
from ssc.models.irn import IRN
from ssc.models.reconstruction import ReconstructionNet
from ssc.models.weights import save_weights
from ssc.runtime.errors import InputError

# By the start of our tensors' names, all starts that the released code gives the same tensors.
Names = Mapping[str, Sequence[str]]

_CLASSIFIER = {
    "backbone.conv1.": ("resnet50.conv1.", "stage1.0.", "backbone.0.0."),
    "backbone.bn1.": ("resnet50.bn1.", "stage1.1.", "backbone.0.1."),
    "backbone.layer1.": ("resnet50.layer1.", "stage1.4.", "backbone.0.4."),
    "backbone.layer2.": ("resnet50.layer2.", "stage2.0.", "backbone.1.0."),
    "backbone.layer3.": ("resnet50.layer3.", "stage3.0.", "backbone.2.0."),
    "backbone.layer4.": ("resnet50.layer4.", "stage4.0.", "backbone.3.0."),
    "classifier.": ("classifier.", "newly_added.0."),
}
_RECONSTRUCTION = {
    "head.": ("main.0.",),
    "residual.": ("main.1.model.0.model.",),
    **{f"upsample.{n}.up.": (f"upsample_{n + 1}.0.",) for n in range(4)},
    **{f"upsample.{n}.conv.": (f"upsample_{n + 1}.3.",) for n in range(4)},
    "tail.": ("upsample_4.4.",),
}
_IRN = {
    "backbone.conv1.": ("resnet50.conv1.", "stage1.0.", "backbone.0.0."),
    "backbone.bn1.": ("resnet50.bn1.", "stage1.1.", "backbone.0.1."),
    **{f"backbone.layer{n}.": (f"resnet50.layer{n}.", f"stage{n + 1}.0.", f"backbone.{n}.0.") for n in range(1, 5)},
    **{f"edge.{n}.": (f"fc_edge{n + 1}.", f"edge_layers.{n}.") for n in range(5)},
    "edge_fuse.": ("fc_edge6.", "edge_layers.5."),
    **{f"displacement.{n}.": (f"fc_dp{n + 1}.", f"dp_layers.{n}.") for n in range(5)},
    "displacement_deep.": ("fc_dp6.", "dp_layers.5."),
    "displacement_fuse.0.": ("fc_dp7.", "dp_layers.6."),
    "displacement_fuse.2.": ("fc_dp7.3.", "dp_layers.6.3."),
    "displacement_mean": ("mean_shift.running_mean", "fc_dp7.4.running_mean", "dp_layers.6.4.running_mean"),
}
_IRN_DERIVED = ("path_indices", "disp_target")  # which pixels a pair connects: geometry, no weights
_SEGMENTATION = {
    "backbone.conv1.": ("backbone.stem_layer.conv1.",),
    "backbone.bn1.": ("backbone.stem_layer.bn1.",),
    "backbone.layer": ("backbone.layer",),
    **{f"aspp.{n}.": (f"aspp.c{n}.",) for n in range(4)},
}


def import_classifier(
    source: str | Path,
    output: str | Path,
    *,
    reconstruction: str | Path | None = None,
    classes: str | Path | None = None,
) -> None:
    """Import the CAM classifier (ResNet-50 with DRS) and, if its file is given, CDR's reconstruction net.

    Args:
        source: checkpoint of the classifier, .pth or .safetensors.
        output: safetensors file with the part `classifier` and, with `reconstruction`, that part.
        reconstruction: checkpoint of the reconstruction net.
        classes: text file of class names, one per line in the order of the network's outputs; None takes VOC's 20.

    Raises:
        InputError: a file is absent, unreadable or holds more than tensors, a tensor is missing, unexpected, of another
            shape, or differs between two of its names, or the class names do not fit the number of classes.
    """
    tensors = single_network(read_checkpoint(source), source)
    number = _outputs(tensors, "classifier.weight", source)
    options = {
        "num_classes": number,
        "backbone": "resnet50",
        "output_stride": 16,
        "drs": True,
        "delta": 0.55,
        "stop_gradient_after": 2,
        "freeze_norm": True,
    }
    names = _class_names(classes, number, source)
    model = CAMClassifier(**options)
    take_tensors(model, tensors, _CLASSIFIER, source)
    parts = {"classifier": (model, options)}
    if reconstruction is not None:
        decoder_options = {"num_classes": number, "width": 256, "upsamplings": 4}
        decoder = ReconstructionNet(**decoder_options)
        take_tensors(
            decoder, single_network(read_checkpoint(reconstruction), reconstruction), _RECONSTRUCTION, reconstruction
        )
        parts["reconstruction"] = (decoder, decoder_options)
    # What the report needs in order to draw the reconstruction.
    settings = {"cdr": {"source": "last", "rectify": False}}
    save_weights(output, parts, classes=names, settings=settings, imported=Path(source).name)


def import_irn(source: str | Path, output: str | Path) -> None:
    """Import IRN (ResNet-50), which knows no classes, as the part `irn`.

    Args:
        source: checkpoint, .pth or .safetensors.
        output: safetensors file.

    Raises:
        InputError: as in `import_classifier`.
    """
    tensors = single_network(read_checkpoint(source), source)
    options = {"backbone": "resnet50", "output_stride": 16}
    model = IRN(**options)
    take_tensors(model, tensors, _IRN, source, derived=_IRN_DERIVED)
    save_weights(output, {"irn": (model, options)}, imported=Path(source).name)


def import_segmentation(
    source: str | Path, output: str | Path, *, classes: str | Path | None = None, output_stride: int = 8
) -> None:
    """Import DeepLabV2 (ResNet-101): one network, or the two that were co-trained.

    Args:
        source: checkpoint, .pth or .safetensors: the tensors of one network, or the dictionary
            {"net_state_dict": {"network1": {...}, "network2": {...}}} of the released code.
        output: safetensors file with the part `segmentation` and, of two networks, `segmentation_2`.
        classes: text file of class names without background; None takes VOC's 20.
        output_stride: stride of the logits, 8 or 16; the weights do not tell. The release uses 8 [R].

    Raises:
        InputError: as in `import_classifier`.
    """
    networks = _networks(read_checkpoint(source), source)
    number = _outputs(networks[0], "aspp.c0.weight", source)
    names = _class_names(classes, number - 1, source)
    options = {
        "num_classes": number,
        "backbone": "resnet101",
        "output_stride": output_stride,
        "rates": [6, 12, 18, 24],
    }
    parts = {}
    for part, tensors in zip(("segmentation", "segmentation_2"), networks, strict=False):
        model = DeepLabV2(**options)
        take_tensors(model, tensors, _SEGMENTATION, source)
        parts[part] = (model, options)
    save_weights(output, parts, classes=names, imported=Path(source).name)


def read_checkpoint(path: str | Path) -> dict:
    """Content of a .pth (tensors in dictionaries, nothing else is unpickled) or a .safetensors file, on the CPU.

    Raises:
        InputError: the file is absent, damaged, holds other objects than tensors, or no dictionary.
    """
    try:
        if Path(path).suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"The checkpoint {path} does not exist.") from None
    except Exception as error:  # a damaged or hostile file may fail in many ways; each one means the same
        if isinstance(error, MemoryError):
            raise
        # The libraries' own messages advise to unpickle the file without protection.
        raise InputError(
            f"The checkpoint {path} is damaged or holds other objects than tensors, which are not unpickled; "
            "fetch it again, or save its state dictionary alone."
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"The checkpoint {path} holds no dictionary of tensors; save the network's state dictionary.")
    return content


def take_tensors(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], names: Names, path: str | Path, *, derived: tuple = ()
) -> None:
    """Load a network of ours from tensors under the released names; it is changed only if all of them fit.

    Args:
        model: the network.
        tensors: by released name.
        names: by the start of our names, the starts of the released ones.
        path: where the tensors came from, for messages.
        derived: starts of released names that hold no weights and are left out.

    Raises:
        InputError: a tensor is missing under one of its names, is unexpected, has another shape, or differs from the
            tensor of another name; the first one is named.
    """
    state, known = {}, set()
    for name, own in model.state_dict().items():
        start = next(start for start in names if name.startswith(start))
        aliases = [alias + name.removeprefix(start) for alias in names[start]]
        known.update(aliases)
        for alias in aliases:
            tensor = tensors.get(alias)
            if tensor is None:
                if not name.endswith("num_batches_tracked"):  # absent from old files, and of no effect here
                    raise InputError(f"{path} lacks the tensor {alias}; it belongs to another network.")
                tensor = own
            if tensor.shape != own.shape:
                raise InputError(
                    f"{path}: the tensor {alias} has shape {tuple(tensor.shape)}, the network needs "
                    f"{tuple(own.shape)}; it belongs to another network."
                )
            if not torch.equal(state.setdefault(name, tensor), tensor):
                raise InputError(
                    f"{path}: the tensors {aliases[0]} and {alias} are one layer's, yet they differ; fetch it again."
                )
    if unexpected := next((name for name in tensors if name not in known and not name.startswith(derived)), None):
        raise InputError(f"{path} holds the unexpected tensor {unexpected}; it belongs to another network.")
    model.load_state_dict(state)


def single_network(content: object, path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a network, without the prefix `module.` that data-parallel training leaves.

    Raises:
        InputError: it is no dictionary of tensors by name.
    """
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a network that is no dictionary of tensors; save its state dictionary.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {name} is no tensor; save the network's state dictionary alone.")
    return {name.removeprefix("module."): value for name, value in content.items()}


def _networks(content: dict, path: str | Path) -> list[dict[str, torch.Tensor]]:
    content = content.get("net_state_dict", content)
    if not isinstance(content, dict) or "network1" not in content:
        return [single_network(content, path)]
    if other := next((name for name in content if name not in ("network1", "network2")), None):
        raise InputError(f"{path} holds the unexpected network {other}; one or two co-trained ones can be imported.")
    return [single_network(content[name], path) for name in ("network1", "network2") if name in content]


def _outputs(tensors: Mapping[str, torch.Tensor], name: str, path: str | Path) -> int:
    """Number of the network's outputs, which the first axis of its last layer tells."""
    if name not in tensors or not tensors[name].ndim:
        raise InputError(f"{path} lacks the tensor {name}; it belongs to another network.")
    return len(tensors[name])


def _class_names(path: str | Path | None, number: int, source: str | Path) -> list[str]:
    if path is None and number != len(VOC_CLASSES):
        raise InputError(f"{source} has {number} classes, not VOC's 20; name a file of their names with --classes.")
    names = VOC_CLASSES if path is None else read_classes(path)
    if len(names) != number:
        raise InputError(f"{path} names {len(names)} classes, {source} has {number}; give one name per line.")
    return names
