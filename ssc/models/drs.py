"""Discriminative region suppression (DRS, Kim et al. 2021), the attention expansion that SSC constrains."""

import torch
from torch import nn


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
