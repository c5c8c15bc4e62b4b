"""Discriminative region suppression (DRS, Kim et al. 2021), the attention expansion that SSC constrains."""

from collections.abc import Callable

import torch
from torch import nn

from ssc.runtime.errors import InputError


class DiscriminativeRegionSuppression(nn.Module):
    """x <- min(x, delta * max over h, w of x), per channel and image; parameter-free (paper eq. 3).

    Args:
        delta: upper bound as a fraction of each channel's maximum, in (0, 1].
    """

    def __init__(self, delta: float = 0.55):
        super().__init__()
        if not 0 < delta <= 1:
            raise ValueError(f"delta must lie in (0, 1], not {delta}")
        self.delta = delta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Suppress non-negative features (B, C, h, w); same shape."""
        return torch.minimum(x, self.delta * x.amax(dim=(2, 3), keepdim=True))


def attach(network: nn.Module, stage: nn.Module, suppress: Callable[..., torch.Tensor]) -> None:
    """Let `suppress` follow every block of a stage that ends in a ReLU.

    Args:
        network: takes an image (B, 3, H, W).
        stage: part of it, whose children are blocks.
        suppress: forward hook, which maps (block, inputs, output) to an output of equal shape.

    Raises:
        InputError: no block of the stage ends in a ReLU, so that its features are not known to be non-negative.
    """
    blocks = blocks_ending_in_relu(network, stage)
    if not blocks:
        raise InputError(
            "DRS suppresses after blocks that end in a ReLU, and the backbone's last stage has none; take another "
            "backbone, or set classifier.drs.enabled: false."
        )
    for block in blocks:
        block.register_forward_hook(suppress)


@torch.no_grad()
def blocks_ending_in_relu(network: nn.Module, stage: nn.Module) -> list[nn.Module]:
    """Those children of a stage whose output is that of a ReLU in them, found out with an empty image."""
    rectified: list[torch.Tensor] = []
    blocks: list[nn.Module] = []

    def end(block: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if any(output is each for each in rectified):
            blocks.append(block)
        rectified.clear()  # a block that hands its input on does not end in the ReLU of the one before

    relus = [module for module in stage.modules() if isinstance(module, nn.ReLU)]
    hooks = [relu.register_forward_hook(lambda relu, inputs, output: rectified.append(output)) for relu in relus]
    hooks += [block.register_forward_hook(end) for block in stage.children()]
    training = [module for module in network.modules() if module.training]
    try:
        network.eval()(torch.zeros(1, 3, 64, 64, device=next(network.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return blocks
