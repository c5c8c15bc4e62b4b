"""Memory of a training step of the classifier: the bytes that autograd saves for the backward pass (paper Table IX)."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from benchmarks.released_step import ReleasedDRS, released_decoder, released_losses
from ssc.data.index import read_classes
from ssc.models.classifier import CAMClassifier
from ssc.models.drs import DiscriminativeRegionSuppression
from ssc.models.reconstruction import ReconstructionNet
from ssc.report.paper import results
from ssc.runtime.device import autocast
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_tsv
from ssc.runtime.progress import track
from ssc.training.classifier import (
    build_reconstruction_loss,
    classifier_arguments,
    classifier_losses,
    decoder_arguments,
)

# Rows of Table IX by the paper's names: the parts of the method that each has.
ROWS = {
    "baseline": (),
    "baseline + DRS": ("drs",),
    "baseline + DRS + CDR": ("drs", "cdr"),
    "baseline + DRS + CDR + ASM": ("drs", "cdr", "asm"),
}
PAPER_BATCH = 6  # photos per step in Table IX

# The `classifier` section of the config, as far as memory depends on it: the defaults, which are the paper's settings.
PAPER = {
    "backbone": "resnet50",
    "output_stride": 16,
    "crop": 512,
    "stop_gradient_after": 2,
    "freeze_norm": True,
    "drs": {"enabled": True, "delta": 0.55},
    "cdr": {
        "enabled": True, "alpha": 1.0, "loss": "perceptual", "source": "last", "rectify": False, "network": "vgg19",
        "taps": "relu1", "stage_weights": [0.03125, 0.0625, 0.125, 0.25, 1.0], "width": 256, "start_epoch": 0,
        "ramp_epochs": 0,
    },
    "asm": {
        "enabled": True, "beta": 1.0, "threshold": 0.3, "erosion": 8, "reliable": True, "start_epoch": 2,
        "ramp_epochs": 0, "detach_maximum": False,
    },
}  # fmt: skip

# Saved bytes of the released formulation, on the whole and held to the end, and of ours with `memory: fast` and `lean`.
_MEASURES = ("released", "released_held", "fast", "lean")
_COLUMNS = ["row", *(f"{name}_mb" for name in _MEASURES), "batch_size", "paper_gb"]
_PRESENT = 2  # classes per photo


def write_memory(
    *, classes: str | Path, output: str | Path, settings: dict, max_regions: int, precision: str = "auto"
) -> None:
    """Measure a step of the classifier, per image, at an experiment's own settings, and write it as TSV.

    The columns are those of `measure_rows` in MB (10^6 bytes), the experiment's batch size, and the paper's GB for
    ResNet-50, 512 px and a batch of 6.

    Args:
        classes: class list of the index.
        output: TSV to write, a row of Table IX per line.
        settings: the `classifier` section of the config.
        max_regions: superpixels per photo.
        precision: `fp32`, `bf16`, or `auto`, which is fp32 here.
    """
    num_classes = len(read_classes(classes))
    rows = measure_rows(settings, num_classes=num_classes, max_regions=max_regions, precision=precision)
    for row in rows:
        row["batch_size"] = settings["batch_size"]
        for name in _MEASURES:
            row[f"{name}_mb"] = f"{row[name] / 1e6:.1f}"
    write_tsv(output, _COLUMNS, rows)


def memory_table(rows: Sequence[dict]) -> str:
    """Rows of `measure_rows` as text, in MB per image, with the released formulation's GB for the paper's batch."""
    lines = [
        ("MB per image", "released", "released", "ours", "ours", "released", "paper"),
        ("", "saved", "held", "fast", "lean", f"x {PAPER_BATCH}, GB", "GB"),
    ]
    for row in rows:
        measured = [f"{row[name] / 1e6:.1f}" for name in _MEASURES]
        lines.append((row["row"], *measured, f"{row['released'] * PAPER_BATCH / 1e9:.2f}", str(row["paper_gb"] or "-")))
    text = "\n".join(f"{line[0]:<26}" + "".join(f"{cell:>11}" for cell in line[1:]) for line in lines)
    return (
        f"{text}\n\nsaved: for the backward pass, during the forward pass; held: the part that backward finds.\n"
        "released: the authors' formulation; ours, by the key `memory`, holds all that it saves.\n"
        f"Paper: memory of a GPU, ResNet-50, 512 px, batch {PAPER_BATCH}."
    )


def measure_rows(
    settings: dict, *, num_classes: int, max_regions: int = 64, batch: int = 1, precision: str = "fp32"
) -> list[dict]:
    """Bytes saved for the backward pass, per image, in the rows of Table IX.

    Runs the forward pass of a training step on the CPU, with random weights, noise as photos, two classes in each, and
    regions of equal size; none of these changes the bytes but the number of classes present, which ours grows with.

    Args:
        settings: the `classifier` section of the config; DRS, CDR and ASM are switched by the rows.
        num_classes: foreground classes.
        max_regions: superpixels per photo.
        batch: photos per step.
        precision: as for `ssc.runtime.device.autocast`. With bf16 the copies of the weights that autocast makes count as well,
            once per step.

    Returns:
        By row: `row`, the paper's name; `released`, all bytes that the released formulation saves during the forward
        pass, and `released_held`, those of them that are still held when the backward pass begins (see `saved_bytes`);
        `fast` and `lean`, the bytes that ours saves, which are all held; `paper_gb`, GB of a GPU for a batch of 6, or
        None.

    Raises:
        InputError: the crop does not suit the output stride, or `num_classes`, `max_regions` or `batch` is below 1.
    """
    size, stride = settings["crop"], settings["output_stride"]
    if size % stride or size < 2 * stride:
        raise InputError(f"The size {size} must be a multiple of the output stride {stride}, and {2 * stride} or more.")
    for name, count in (("classes", num_classes), ("superpixels", max_regions), ("photos per step", batch)):
        if count < 1:
            raise InputError(f"The number of {name} is {count}; it must be 1 or more.")
    image = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(num_classes) < _PRESENT).float().repeat(batch, 1)
    regions = (torch.arange(size * size) * max_regions // (size * size)).view(1, size, size).repeat(batch, 1, 1)
    model = CAMClassifier(**classifier_arguments(settings, num_classes)).eval()
    decoder = ReconstructionNet(**decoder_arguments(model, settings["cdr"], size))
    reconstruction_loss = build_reconstruction_loss(settings["cdr"], None)
    modules = [each.to(memory_format=torch.channels_last).train() for each in (model, decoder, reconstruction_loss)]
    modules.append(released_decoder(decoder))
    known = [image, *(tensor for each in modules for tensor in (*each.parameters(), *each.buffers()))]
    paper = {result.method: result.value for result in results() if result.table == "IX"}
    epoch = max(settings["cdr"]["start_epoch"], settings["asm"]["start_epoch"])
    formulations = {
        "released": (released_losses, ReleasedDRS, modules[-1]),
        "fast": (partial(classifier_losses, epoch=epoch), DiscriminativeRegionSuppression, decoder),
        "lean": (partial(classifier_losses, epoch=epoch), DiscriminativeRegionSuppression, decoder),
    }
    rows = []
    for name, parts in track(ROWS.items(), "rows", len(ROWS)):
        own = {**settings, **{part: {**settings[part], "enabled": part in parts} for part in ("drs", "cdr", "asm")}}
        row = {"row": name, "paper_gb": paper.get(name)}
        for formulation, (losses, drs, own_decoder) in formulations.items():
            decoder.recompute = formulation == "lean"
            model.drs = drs(settings["drs"]["delta"]) if "drs" in parts else nn.Identity()
            step = partial(
                losses, model, image, labels, regions, settings=own, decoder=own_decoder,
                reconstruction_loss=reconstruction_loss,
            )  # fmt: skip
            with autocast(torch.device("cpu"), precision):
                saved, held = saved_bytes(step, leave_out=known)
            row[formulation] = saved // batch
            if formulation == "released":
                row["released_held"] = held // batch
        rows.append(row)
    return rows


def saved_bytes(step: Callable[[], object], *, leave_out: Iterable[torch.Tensor] = ()) -> tuple[int, int]:
    """Bytes that autograd saves for the backward pass while `step` runs.

    What counts is every storage of which a tensor or a view is saved, once and with its whole size. Saved tensors are
    all that backward formulas read: inputs, outputs, indices, running statistics, weights. Temporary values that no
    formula reads do not count, nor do gradients and the allocator's reserve.

    Args:
        step: computes losses and returns all of them, so that their graph lives on.
        leave_out: tensors whose storages do not count, such as parameters and the input image.

    Returns:
        All bytes saved on the way, and those of them that are held when `step` has returned. The rest belongs to parts
        of the graph that were cut off, such as the stages before a stopped gradient.
    """
    known = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in leave_out}
    found: dict[int, tuple[StorageWeakRef, int]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)  # keeps the address from being used again, but not the values
        if reference.cdata not in known:
            found[reference.cdata] = reference, storage.nbytes()
        return tensor.detach()  # an output that held its own graph would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        losses = step()
    held = sum(size for reference, size in found.values() if not reference.expired())
    del losses
    return sum(size for _, size in found.values()), held
