"""Suppression against its formula."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ssc.models.drs import DiscriminativeRegionSuppression, activated_blocks
from tests.unit.models.networks_by_hand import rand


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.floats(0.01, 1.0))
def test_drs_clips_each_channel_at_a_fraction_of_its_maximum(batch, channels, height, width, delta):
    x = rand(batch, channels, height, width).relu().double()
    own = DiscriminativeRegionSuppression(delta)(x)
    for b in range(batch):
        for c in range(channels):
            expected = np.clip(x[b, c].numpy(), None, delta * max(x[b, c].flatten().tolist()))
            np.testing.assert_allclose(own[b, c].numpy(), expected, rtol=1e-15)


def test_drs_passes_the_gradient_of_suppressed_pixels_to_the_maximum():
    x = torch.tensor([[[[1.0, 4.0, 3.0]]]], requires_grad=True)
    DiscriminativeRegionSuppression(0.5)(x).sum().backward()
    assert x.grad.flatten().tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("delta", [0, -0.1, 1.01])
def test_drs_refuses_other_bounds(delta):
    with pytest.raises(ValueError, match="delta"):
        DiscriminativeRegionSuppression(delta)


class Residual(nn.Module):
    """x + relu(conv(x)): its last layer is a ReLU, its output is not rectified."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x):
        return x + self.relu(self.conv(x))


def test_blocks_whose_output_is_that_of_an_activation():
    nested = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True)))
    stage = nn.Sequential(
        nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Identity(), nested, nn.Dropout(), nn.ReLU(), Residual(), nn.GELU()
    )
    network = nn.Sequential(stage).train()
    stage[3][1].eval()  # a frozen part stays frozen
    before = copy.deepcopy(network.state_dict())
    assert activated_blocks(network, stage) == {
        stage[1]: True,
        nested: True,
        stage[5]: True,
        stage[6]: False,
        stage[7]: True,
    }
    assert not any(module._forward_hooks for module in network.modules())
    frozen = set(stage[3][1].modules())
    assert all(module.training == (module not in frozen) for module in network.modules())
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
