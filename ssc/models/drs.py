"""Discriminative region suppression (DRS, Kim et al. 2021), the attention expansion that SSC constrains."""

import re
from collections.abc import Callable

import torch
from torch import nn

from ssc.runtime.errors import InputError

_ACTIVATIONS = re.compile(r"(torch\.nn\.modules\.activation|timm\.layers\.activations(_\w+)?)$")


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
    """Let `suppress` follow the blocks of a stage whose output is that of an activation.

    Where all blocks end linearly, as inverted residuals do, it follows all that hold an activation: of such features
    those above a fraction of a positive maximum are suppressed (docs/method.md says what came of it).

    Args:
        network: takes an image (B, 3, H, W).
        stage: part of it, whose children are blocks.
        suppress: forward hook, which maps (block, inputs, output) to an output of equal shape.

    Raises:
        InputError: no block that gives maps holds an activation.
    """
    found = activated_blocks(network, stage)
    for block in [block for block, last in found.items() if last] or found:
        block.register_forward_hook(suppress)
    if not found:
        raise InputError(
            "DRS suppresses maps after blocks with an activation, and the backbone's last stage has none; take another "
            "backbone, or set classifier.drs.enabled: false."
        )


@torch.no_grad()
def activated_blocks(network: nn.Module, stage: nn.Module) -> dict[nn.Module, bool]:
    """Those children of a stage that give maps and hold an activation, and whether it gives their output.

    Found out with an empty image; arguments as of `attach`.
    """
    outputs: list[torch.Tensor] = []  # of activations
    found: dict[nn.Module, bool] = {}

    def end(block: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if outputs and output.dim() == 4:
            found[block] = any(output is each for each in outputs)
        outputs.clear()

    activations = [module for module in stage.modules() if _ACTIVATIONS.match(type(module).__module__)]
    hooks = [module.register_forward_hook(lambda _, inputs, output: outputs.append(output)) for module in activations]
    hooks += [block.register_forward_hook(end) for block in stage.children()]
    training = [module for module in network.modules() if module.training]
    try:
        network.eval()(torch.zeros(1, 3, 64, 64, device=next(network.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return found
