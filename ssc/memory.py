"""Memory of a training step of the classifier: the bytes that autograd saves for the backward pass (paper Table IX)."""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F

from ssc.data.index import read_classes
from ssc.device import autocast
from ssc.errors import InputError
from ssc.files import write_tsv
from ssc.losses import erode
from ssc.models.classifier import CAMClassifier
from ssc.models.drs import DiscriminativeRegionSuppression
from ssc.models.reconstruction import ConvBlock, ReconstructionNet, decoder_input
from ssc.paper import results
from ssc.progress import track
from ssc.training.classifier import (
    build_reconstruction_loss,
    classifier_arguments,
    classifier_losses,
    decoder_arguments,
    to_normalised,
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

_COLUMNS = ["row", "released_mb", "ours_mb", "released_held_mb", "ours_held_mb", "batch_size", "paper_gb"]
_PRESENT = 2  # classes per photo
_EPS = 1e-5


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
        for name in ("released", "ours", "released_held", "ours_held"):
            row[f"{name}_mb"] = f"{row[name] / 1e6:.1f}"
    write_tsv(output, _COLUMNS, rows)


def memory_table(rows: Sequence[dict]) -> str:
    """Rows of `measure_rows` as text, in MB per image, with the released formulation's GB for the paper's batch."""
    lines = [
        ("MB per image", "saved", "saved", "held", "held", f"x {PAPER_BATCH}, GB", "paper, GB"),
        ("", "released", "ours", "released", "ours", "released", ""),
    ]
    for row in rows:
        measured = [f"{row[name] / 1e6:.1f}" for name in ("released", "ours", "released_held", "ours_held")]
        lines.append((row["row"], *measured, f"{row['released'] * PAPER_BATCH / 1e9:.2f}", str(row["paper_gb"] or "-")))
    text = "\n".join(f"{line[0]:<26}" + "".join(f"{cell:>11}" for cell in line[1:]) for line in lines)
    return (
        f"{text}\n\nsaved: for the backward pass, during the forward pass; held: the part that backward finds.\n"
        f"released: the authors' formulation. Paper: memory of a GPU, ResNet-50, 512 px, batch {PAPER_BATCH}."
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
        precision: as for `ssc.device.autocast`. With bf16 the copies of the weights that autocast makes count as well,
            once per step.

    Returns:
        By row: `row`, the paper's name; `released` and `ours`, all bytes saved during the forward pass; `released_held`
        and `ours_held`, those of them that are still held when the backward pass begins (see `saved_bytes`);
        `paper_gb`, GB of a GPU for a batch of 6, or None.

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
        "ours": (partial(classifier_losses, epoch=epoch), DiscriminativeRegionSuppression, decoder),
    }
    rows = []
    for name, parts in track(ROWS.items(), "rows", len(ROWS)):
        own = {**settings, **{part: {**settings[part], "enabled": part in parts} for part in ("drs", "cdr", "asm")}}
        row = {"row": name, "paper_gb": paper.get(name)}
        for formulation, (losses, drs, own_decoder) in formulations.items():
            model.drs = drs(settings["drs"]["delta"]) if "drs" in parts else nn.Identity()
            step = partial(
                losses, model, image, labels, regions, settings=own, decoder=own_decoder,
                reconstruction_loss=reconstruction_loss,
            )  # fmt: skip
            with autocast(torch.device("cpu"), precision):
                saved, held = saved_bytes(step, leave_out=known)
            row |= {formulation: saved // batch, f"{formulation}_held": held // batch}
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


def released_decoder(decoder: ReconstructionNet) -> ReconstructionNet:
    """A copy that pads in a step of its own, as the released blocks do: a padded copy of each input is saved."""
    apart = copy.deepcopy(decoder)
    for block in apart.modules():
        if isinstance(block, ConvBlock) and block.conv.padding_mode == "zeros":
            block.conv.padding_mode = "constant"
    return apart


def released_losses(
    model: CAMClassifier,
    image: torch.Tensor,
    labels: torch.Tensor,
    regions: torch.Tensor,
    *,
    settings: dict,
    decoder: ReconstructionNet,
    reconstruction_loss: nn.Module,
) -> dict[str, torch.Tensor]:
    """`ssc.training.classifier.classifier_losses` as the released code forms them [R], all at full weight 1.

    The loss network, which that code builds anew in each step, costs time but no saved bytes, since it is frozen.
    """
    third, features = model.stages(image)
    losses = {"classification": F.multilabel_soft_margin_loss(features.float().mean(dim=(2, 3)), labels)}
    cdr, asm = settings["cdr"], settings["asm"]
    if cdr["enabled"]:
        source = decoder_input(third, features, source=cdr["source"], rectify=cdr["rectify"])
        losses["reconstruction"] = reconstruction_loss(to_normalised(decoder(source)), image)
    if asm["enabled"]:
        options = {name: asm[name] for name in ("threshold", "erosion", "reliable")}
        losses["alignment"] = dense_alignment_loss(features, regions, labels, **options)
    return losses


class ReleasedDRS(nn.Module):
    """DRS with a bound per pixel, not per channel [R]; same values as `DiscriminativeRegionSuppression`."""

    def __init__(self, delta: float):
        super().__init__()
        self.delta = delta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w); same shape."""
        return torch.minimum(x, x.amax(dim=(2, 3), keepdim=True).expand_as(x) * self.delta)


def dense_alignment_loss(
    features: torch.Tensor,
    superpixels: torch.Tensor,
    labels: torch.Tensor,
    *,
    threshold: float,
    erosion: int,
    reliable: bool,
) -> torch.Tensor:
    """`ssc.losses.alignment_loss` as the released code forms it [R]; same arguments and value.

    Superpixels are one-hot rows (B, S, N) of the N half-resolution pixels; means are products with them for all
    classes, present or not, and are detached only at the end.
    """
    size = tuple(side // 2 for side in superpixels.shape[-2:])
    regions = F.interpolate(superpixels[:, None].float(), size=size, mode="nearest").long().flatten(1)
    one_hot = F.one_hot(regions).transpose(1, 2).float()
    share = one_hot / one_hot.sum(dim=2, keepdim=True).clamp(min=1)
    maps = F.interpolate(features.float(), size=size, mode="bilinear", align_corners=False).flatten(2)
    sums = maps @ one_hot.transpose(1, 2)
    means = (share[:, None].repeat(1, maps.shape[1], 1, 1) * sums[..., None]).sum(dim=2)
    activation = _normalise(maps)[labels == 1]
    target = _normalise(means)[labels == 1].detach()
    if reliable:
        seen = activation.detach()
        mask = erode((seen > threshold).float().view(-1, *size), erosion).flatten(1)
        target = torch.maximum(target, seen * mask)
    return F.mse_loss(activation, target)


def _normalise(maps: torch.Tensor) -> torch.Tensor:
    """relu(f) / (max relu(f) + 1e-5) of maps (B, C, N)."""
    maps = maps.clamp(min=0)
    return maps / (maps.amax(dim=2, keepdim=True) + _EPS)
