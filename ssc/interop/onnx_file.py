"""A trained segmentation network as one ONNX file, from photos to labels: the work of `ssc export-onnx`.

PyTorch's older exporter, which traces, is taken: it needs no package but onnx, and seconds. The newer one reasons about
photos of any size, for minutes where a network pads as TensorFlow's do, as those of `preset: laptop`. What a trace gets
wrong, sizes above all, is found before anything is written: onnxruntime has to give what the network gives.
"""

import importlib
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn
from torch.onnx.errors import OnnxExporterError

from ssc.constants import MEAN, STD, voc_colours
from ssc.data.transforms import resize_image
from ssc.models.deeplab import DeepLabV2, load_networks, mean_logits
from ssc.models.weights import network_words, read_header
from ssc.prediction import probabilities
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic
from ssc.runtime.outputs import check_outputs, note_output

_COMMAND = "export-onnx"
_OPSET = 18  # the first that smooths when it resizes, as transformers need
_ROOM = 2**31  # bytes of an ONNX file, which is a single message of protobuf
_TRACED = (2, 97, 130, 3)  # shape of the photos; at the size of its training a transformer would not resize positions
_TRIED = ((64, 96), (161, 83))  # sizes of photos in onnxruntime
_TOLERANCE = 0.01  # of a probability; rounding makes less than a thousandth
_TEXT = (
    "photos: uint8 (N, H, W, 3), RGB, upright, of any size. labels: uint8 (N, H, W), 0 background, k the k-th class. "
    "probabilities: float32 (N, C + 1, H, W), 0..1. The metadata has the C + 1 names and colours, as JSON."
)


def export_onnx(weights: str | Path, output: str | Path, *, force: bool = False) -> None:
    """Write the network of a weight file, or both of a co-trained pair, as ONNX: see docs/exporting.md.

    Args:
        weights: `segmentation.safetensors` of a run.
        output: file to write.
        force: a file there that this command has not written may be replaced.

    Raises:
        InputError: a package is missing; the output would replace another file; the weights are of no segmentation
            network, or of one that is too large for ONNX or that PyTorch cannot express in it.
    """
    onnx, runtime = _package("onnx"), _package("onnxruntime")
    check_outputs([output], command=_COMMAND, force=force, inputs=[weights])
    networks = load_networks(weights)
    size = sum(tensor.nbytes for network in networks for tensor in network.state_dict().values())
    if size >= _ROOM:
        raise InputError(f"{weights} holds {size / 1e9:.1f} GB, and an ONNX file 2.1 GB; train a smaller backbone.")
    try:
        model = onnx.load_from_string(_traced(networks))
        _describe(model, ["background", *read_header(weights)["facts"]["classes"]])
        content = model.SerializeToString()
        difference = _difference(networks, runtime.InferenceSession(content, providers=["CPUExecutionProvider"]))
        fault = "" if difference <= _TOLERANCE else f"its probabilities are {difference:.2f} off in onnxruntime"
    except Exception as error:
        if not isinstance(error, OnnxExporterError) and not type(error).__module__.startswith("onnxruntime."):
            raise  # onnxruntime's errors have no class in common
        fault = str(error).strip().splitlines()[0]
    if fault:
        raise InputError(
            f"The network of {weights} ({', '.join(network_words(weights))}) cannot be expressed in ONNX by PyTorch's "
            f"exporter ({fault}); use it in Python, or train another backbone."
        )
    with atomic(output) as temporary:
        temporary.write_bytes(content)
    note_output(output, command=_COMMAND)


class _PhotosToLabels(nn.Module):
    """Photos, uint8 (N, H, W, 3), to labels, uint8 (N, H, W), and probabilities (N, K, H, W)."""

    def __init__(self, networks: Sequence[DeepLabV2]):
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        image = (photos.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        scores = mean_logits(self.networks, image, size=photos.shape[1:3], precision="fp32").softmax(dim=1)
        return scores.argmax(dim=1).to(torch.uint8), scores


def _traced(networks: Sequence[DeepLabV2]) -> bytes:
    free = {0: "batch", 1: "height", 2: "width"}
    buffer = io.BytesIO()
    with _quiet(), torch.no_grad():
        torch.onnx.register_custom_op_symbolic("aten::_upsample_bicubic2d_aa", _smooth_bicubic, _OPSET)
        torch.onnx.export(
            _PhotosToLabels(networks).eval(),
            (torch.zeros(_TRACED, dtype=torch.uint8),),
            buffer,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["photos"],
            output_names=["labels", "probabilities"],
            dynamic_axes={"photos": free, "labels": free, "probabilities": {0: "batch", 2: "height", 3: "width"}},
        )
    return buffer.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, of its age and of constants that `_difference` judges, and without the thousands
    of lines that its C++ prints where it fails."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def _smooth_bicubic(g, maps, size, *_):
    """The operator by which timm fits a transformer's positions to a photo, and which PyTorch's exporter lacks."""
    kept = g.op("Gather", g.op("Shape", maps), g.op("Constant", value_t=torch.tensor([0, 1])))
    sizes = g.op("Concat", kept, g.op("Cast", size, to_i=7), axis_i=0)  # 7 is int64
    none = g.op("Constant", value_t=torch.tensor([]))
    kind = {"mode_s": "cubic", "cubic_coeff_a_f": -0.5, "antialias_i": 1, "exclude_outside_i": 1}
    return g.op("Resize", maps, none, none, sizes, coordinate_transformation_mode_s="half_pixel", **kind)


def _describe(model, names: Sequence[str]) -> None:
    """Add what a program has to know of the graph: names and colours of the labels, and what goes in and comes out."""
    from onnx.helper import set_model_props

    facts = {"classes": names, "colours": voc_colours()[: len(names)]}
    set_model_props(model, {key: json.dumps(values, ensure_ascii=False) for key, values in facts.items()})
    model.doc_string = _TEXT
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = len(names)  # which the exporter forgets


def _difference(networks: Sequence[DeepLabV2], session) -> float:
    """The largest between a probability of the network and of the graph, on coloured patches and their mirror image."""
    rng, differences = np.random.default_rng(0), []
    for size in _TRIED:
        photo = resize_image(rng.integers(0, 256, (5, 6, 3), np.uint8), size)
        photos = np.stack([photo, photo[:, ::-1]])
        (found,) = session.run(["probabilities"], {"photos": photos})
        expected = [probabilities(networks, each, flip=False)[-1].numpy() for each in photos]
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            "ssc export-onnx needs the packages onnx and onnxruntime; pip install 'ssc-wsss[onnx]'."
        ) from None
