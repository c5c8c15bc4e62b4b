"""Loss networks."""

import pytest
import torch

from ssc.models.perceptual import loss_network
from tests.unit.models.networks_by_hand import rand, torchvision_stages


def test_a_backbone_serves_as_loss_network():
    torch.manual_seed(0)
    network = loss_network("tiny").eval()
    image = rand(1, 3, 32, 48)
    maps = network(image)
    assert [tuple(x.shape[2:]) for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3), (2, 3)]
    for own, stage in zip(maps, torchvision_stages(network, image), strict=True):
        assert torch.equal(own, stage)


def test_unknown_loss_networks_are_refused():
    with pytest.raises(ValueError, match="alexnet"):
        loss_network("alexnet")
