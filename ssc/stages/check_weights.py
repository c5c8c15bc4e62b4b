"""Weights that a run takes ready instead of training them (`ready.classifier` and its like), or starts from."""

from collections.abc import Sequence
from pathlib import Path

from ssc.data.index import read_classes
from ssc.models.backbones import backbone
from ssc.models.perceptual import loss_network
from ssc.models.weights import load_backbone, read_header
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json

# By stage, which is also the part's name: the network, and how many of its outputs are no class of the data set.
_MODELS = {"classifier": ("CAMClassifier", 0), "irn": ("IRN", None), "segmentation": ("DeepLabV2", 1)}


def write_facts(path: str | Path, *, stage: str, classes: str | Path, output: str | Path) -> None:
    """Check ready weights (see `check_weights`) and write what their header says as JSON.

    Args:
        path, stage: as in `check_weights`.
        classes: class list of the index.
        output: JSON file: `file`, and the header's `parts` and `facts`.
    """
    check_weights(path, stage=stage, classes=read_classes(classes))
    write_json(output, {"file": str(path), **read_header(path)})


def check_weights(path: str | Path, *, stage: str, classes: Sequence[str]) -> None:
    """Check by its header that a weight file can stand for a training stage of a data set; no tensor is read.

    IRN knows no classes: any fits.

    Args:
        path: safetensors file of this project: imported, or of another run.
        stage: `classifier`, `irn` or `segmentation`.
        classes: the data set's class names, without background.

    Raises:
        InputError: the file is absent or not one of ours, holds no such part, or was trained on other classes; the
            first one that differs is named.
    """
    header = read_header(path)
    model, outside = _MODELS[stage]
    part = header["parts"].get(stage, {})
    if part.get("model") != model:
        raise InputError(
            f"ready.{stage}: {path} holds no {stage} but {', '.join(header['parts'])}; name the right file."
        )
    if outside is None:
        return
    number = part["options"]["num_classes"] - outside
    if number != len(classes):
        raise InputError(f"ready.{stage}: {path} has {number} classes, the data set {len(classes)}.")
    for place, (own, needed) in enumerate(zip(header["facts"]["classes"], classes, strict=True), start=1):
        if own != needed:
            raise InputError(
                f"ready.{stage}: class {place} of {path} is {own!r}, the data set's {needed!r}; "
                "import it again with `--classes` and the classes.txt of the results, if only the names differ."
            )


def check_start(path: str | Path, *, key: str, network: str, output_stride: int | None = None) -> None:
    """Check that a network can start from a weight file, by loading it.

    Args:
        path: safetensors file.
        key: of the configuration that asks for it, for messages.
        network: name of a backbone, or of a loss network.
        output_stride: of the backbone; None for a loss network.

    Raises:
        InputError: the file is absent, no safetensors file, or one of another network.
    """
    try:
        if output_stride is None:
            loss_network(network, weights=path)
        else:
            load_backbone(backbone(network, output_stride=output_stride), path)
    except InputError as error:
        raise InputError(f"{key}: {error}") from None
