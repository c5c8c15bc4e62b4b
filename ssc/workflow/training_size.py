"""The sizes of the networks and their trainings, asked of them on torch's meta device, where nothing is computed."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from ssc.affinity import irn_losses
from ssc.constants import STRIDE
from ssc.losses import masked_cross_entropy
from ssc.models import IRN, CAMClassifier, DeepLabV2, ReconstructionNet
from ssc.models.perceptual import loss_network
from ssc.models.size import count_flops, count_parameters, peak_bytes, saved_bytes
from ssc.runtime.errors import InputError
from ssc.workflow.experiments import uses_loss_network
from ssc.workflow.network_sizes import NetworkSize
from ssc.workflow.settings import Settings

_SIDE = 512  # of the photo that the networks are shown


class _Training(NamedTuple):
    """What a training does in a step.

    Attributes:
        networks: those that it trains.
        outputs: of a batch of photos, with all products of the networks.
        losses: of the outputs and the batch, or what stands for them.
        judge: a frozen network that compares the outputs with the batch.
        inference: what becomes of a batch in inference; None: the first network's outputs.
    """

    networks: list[nn.Module]
    outputs: Callable[[torch.Tensor], object]
    losses: Callable[[object, torch.Tensor], object] = lambda outputs, image: outputs
    judge: nn.Module | None = None
    inference: Callable[[torch.Tensor], torch.Tensor] | None = None


def measure_networks(settings: Settings, num_classes: int) -> dict[str, NetworkSize]:
    """The sizes of the networks, by training.

    Args:
        settings: of the experiment.
        num_classes: number C of foreground classes.

    Raises:
        InputError: settings of which no network can be built.
    """
    sizes = {}
    with torch.device("meta"):
        for stage, build in (("classifier", _classifier), ("irn", _irn), ("segmentation", _segmentation)):
            own = getattr(settings, stage)
            try:
                training = build(settings, num_classes)
            except ValueError as error:
                raise InputError(f"{stage}: {str(error).rstrip('.')}.") from None
            sizes[stage] = _measure(training, crop=own.crop, batch_size=own.batch_size)
    return sizes


def _measure(training: _Training, *, crop: int, batch_size: int) -> NetworkSize:
    batch = torch.empty(2, 3, crop, crop)  # of one photo, a batch norm may see a single value
    photos = torch.empty(2, 3, _SIDE, _SIDE)
    constant = [tensor for network in training.networks for tensor in network.state_dict().values()]
    saved, _ = saved_bytes(lambda: training.losses(training.outputs(batch), batch), leave_out=[batch, *constant])
    flops = count_flops(partial(training.outputs, batch), backward=True)
    if training.judge:  # it sees the batch and the outputs, and sends the gradient of these back
        flops += 3 * count_flops(partial(training.judge, batch))
    network = training.networks[0].eval()
    look = partial(training.inference or network, photos)
    return NetworkSize(
        weights=4 * sum(map(count_parameters, training.networks)),
        saved=saved * batch_size // 2,
        training_flops=flops // 2,
        bytes_per_pixel=peak_bytes(look, leave_out=[photos, *constant]) / (2 * _SIDE**2),
        flops_per_pixel=count_flops(look) / (2 * _SIDE**2),
    )


def _classifier(settings: Settings, num_classes: int) -> _Training:
    """Without the perceptual and the alignment loss, which save next to nothing; the decoder reads the class maps,
    wherever it reads in truth."""
    own = settings.classifier
    options = own.model_dump(include={"backbone", "output_stride", "stop_gradient_after"})
    model = CAMClassifier(num_classes, **options, drs=own.drs.enabled)
    if not own.cdr.enabled:
        return _Training([model], model)
    judge = loss_network(own.cdr.network) if uses_loss_network(settings) else None  # which may be refused
    doublings = own.output_stride.bit_length() - 1
    decoder = ReconstructionNet(num_classes, width=own.cdr.width, upsamplings=doublings)
    decoder.recompute = settings.memory == "lean"
    return _Training([model, decoder], lambda image: decoder(model(image)[1]), judge=judge)


def _irn(settings: Settings, num_classes: int) -> _Training:
    own = settings.irn
    displaced = own.displacement_lr is not None
    model = IRN(own.backbone, output_stride=own.output_stride, displacement=displaced)

    def losses(outputs: tuple[torch.Tensor, torch.Tensor | None], image: torch.Tensor) -> dict[str, torch.Tensor]:
        return irn_losses(*outputs, image[:, 0, ::STRIDE, ::STRIDE].long(), own.radius)

    return _Training([model], model, losses, inference=model.edges)


def _segmentation(settings: Settings, num_classes: int) -> _Training:
    own = settings.segmentation
    options = own.model_dump(include={"backbone", "output_stride", "rates"})
    networks = [DeepLabV2(num_classes + 1, **options) for _ in range(1 + (own.training == "cotraining"))]

    def losses(outputs: list[torch.Tensor], image: torch.Tensor) -> list[torch.Tensor]:
        logits = [F.interpolate(each, size=image.shape[2:], mode="bilinear") for each in outputs]
        return [masked_cross_entropy(each, image[:, 0].long()) for each in logits]

    return _Training(networks, lambda image: [network(image) for network in networks], losses)
