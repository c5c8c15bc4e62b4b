"""The size of the trainings, asked of the networks on torch's meta device, where nothing is computed."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from ssc.affinity import irn_losses
from ssc.constants import STRIDE
from ssc.losses import masked_cross_entropy
from ssc.models import IRN, CAMClassifier, DeepLabV2, ReconstructionNet
from ssc.models.perceptual import loss_network
from ssc.models.size import count_parameters, saved_bytes
from ssc.runtime.errors import InputError
from ssc.workflow.experiments import uses_loss_network
from ssc.workflow.settings import Settings

Training = tuple[list[nn.Module], Callable[[torch.Tensor], object]]  # networks, and a step's graph of a batch


def measure_trainings(settings: Settings, num_classes: int) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes of each training's weight file, and those that its step in fp32 saves for its backward pass.

    Args:
        settings: of the experiment.
        num_classes: number C of foreground classes.

    Raises:
        InputError: settings of which no network can be built.
    """
    weights, saved = {}, {}
    with torch.device("meta"):
        for stage, build in (("classifier", _classifier), ("irn", _irn), ("segmentation", _segmentation)):
            own = getattr(settings, stage)
            try:
                networks, step = build(settings, num_classes)
            except ValueError as error:
                raise InputError(f"{stage}: {str(error).rstrip('.')}.") from None
            image = torch.empty(2, 3, own.crop, own.crop)  # of one photo, a batch norm may see a single value
            constant = [tensor for network in networks for tensor in network.state_dict().values()]
            weights[stage] = 4 * sum(map(count_parameters, networks))
            saved[stage] = saved_bytes(partial(step, image), leave_out=[image, *constant])[0] * own.batch_size // 2
    return weights, saved


def _classifier(settings: Settings, num_classes: int) -> Training:
    """Without the perceptual and the alignment loss, which save next to nothing; the decoder reads the class maps,
    wherever it reads in truth."""
    own = settings.classifier
    options = own.model_dump(include={"backbone", "output_stride", "stop_gradient_after"})
    model = CAMClassifier(num_classes, **options, drs=own.drs.enabled)
    if not own.cdr.enabled:
        return [model], model
    if uses_loss_network(settings):
        loss_network(own.cdr.network)  # which may be refused
    doublings = own.output_stride.bit_length() - 1
    decoder = ReconstructionNet(num_classes, width=own.cdr.width, upsamplings=doublings)
    decoder.recompute = settings.memory == "lean"
    return [model, decoder], lambda image: decoder(model(image)[1])


def _irn(settings: Settings, num_classes: int) -> Training:
    own = settings.irn
    model = IRN(own.backbone, output_stride=own.output_stride)
    return [model], lambda image: irn_losses(*model(image), image[:, 0, ::STRIDE, ::STRIDE].long(), own.radius)


def _segmentation(settings: Settings, num_classes: int) -> Training:
    own = settings.segmentation
    options = own.model_dump(include={"backbone", "output_stride", "rates"})
    networks = [DeepLabV2(num_classes + 1, **options) for _ in range(1 + (own.training == "cotraining"))]

    def step(image: torch.Tensor) -> list[torch.Tensor]:
        logits = [F.interpolate(network(image), size=image.shape[2:], mode="bilinear") for network in networks]
        return [masked_cross_entropy(each, image[:, 0].long()) for each in logits]

    return networks, step
