"""IRN with its heads written out."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssc.models.irn import IRN
from tests.unit.models.networks_by_hand import on_meta, rand, randomised, torchvision_stages


@pytest.fixture(scope="module")
def irn():
    torch.manual_seed(0)
    model = IRN("resnet18")
    randomised(model.backbone)
    return model


@pytest.mark.parametrize("size", [(64, 64), (65, 67), (70, 93), (33, 34)])
def test_irn_heads_lie_at_stride_four(irn, size):
    edge, displacement = irn.eval()(rand(2, 3, *size))
    expected = (int(np.ceil(size[0] / 4)), int(np.ceil(size[1] / 4)))
    assert edge.shape == (2, 1, *expected) and displacement.shape == (2, 2, *expected)


def test_irn_heads_written_out(irn):
    irn.train()
    image = rand(2, 3, 70, 93)
    features = torchvision_stages(irn.backbone, image)
    size = features[0].shape[2:]

    middle = features[2].shape[2:]

    def head(x, layers, factor, size):
        x = F.group_norm(F.conv2d(x, layers[0].weight), layers[1].num_groups, layers[1].weight, layers[1].bias)
        x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        return x[..., : size[0], : size[1]].relu()

    # Stages of strides 4, 4, 8, 16, 16: to stride 4 by whole factors, whatever is cut at the border.
    edges = [head(x, h, k, size) for x, h, k in zip(features, irn.edge, (1, 1, 2, 4, 4), strict=True)]
    edges = torch.cat(edges, dim=1)
    a, b, *deep = (
        head(x, h, factor, size if factor == 1 and x.shape[2:] == size else middle)
        for x, h, factor in zip(features, irn.displacement, (1, 1, 1, 2, 2), strict=True)
    )
    deep = head(torch.cat(deep, dim=1), irn.displacement_deep, 2, size)
    fused = head(torch.cat([a, b, deep], dim=1), irn.displacement_fuse[0], 1, size)
    edge, displacement = irn(image)
    torch.testing.assert_close(edge, F.conv2d(edges, irn.edge_fuse.weight, irn.edge_fuse.bias))
    torch.testing.assert_close(displacement, F.conv2d(fused, irn.displacement_fuse[2].weight))


def test_irn_has_the_heads_of_its_paper():
    model = on_meta(IRN)
    edge = [(h[0].in_channels, h[0].out_channels, h[1].num_groups) for h in model.edge]
    assert edge == [(c, 32, 4) for c in (64, 256, 512, 1024, 2048)]
    displacement = [(h[0].out_channels, h[1].num_groups) for h in model.displacement]
    assert displacement == [(64, 8), (128, 16), (256, 16), (256, 16), (256, 16)]
    assert model.displacement_deep[0].weight.shape[:2] == (256, 768)
    assert model.displacement_fuse[0][0].weight.shape[:2] == (256, 448)
    assert model.displacement_fuse[2].bias is None


def test_irn_trains_its_heads_only(irn):
    irn.train()
    before = copy.deepcopy(irn.backbone.state_dict())
    edge, displacement = irn(rand(2, 3, 64, 64))
    (edge.square().mean() + displacement.square().mean()).backward()
    for name, parameter in irn.named_parameters():
        assert (parameter.grad is None) == name.startswith("backbone.")
    for name, value in irn.backbone.state_dict().items():
        assert torch.equal(value, before[name])
    assert irn.training and not any(module.training for module in irn.backbone.modules())


def test_irn_subtracts_the_mean_displacement_in_evaluation_only(irn):
    model = copy.deepcopy(irn)
    model.displacement_mean.copy_(torch.tensor([1.5, -2.0]))
    image = rand(1, 3, 64, 64)
    edge, displacement = model.train()(image)
    edge_later, displacement_later = model.eval()(image)
    assert torch.equal(edge, edge_later)
    torch.testing.assert_close(displacement[:, 0] - 1.5, displacement_later[:, 0])
    torch.testing.assert_close(displacement[:, 1] + 2.0, displacement_later[:, 1])
    assert "displacement_mean" in model.state_dict()


def test_the_edges_depend_on_no_displacement_head(irn):
    torch.manual_seed(0)
    alone = IRN("resnet18", displacement=False)
    torch.manual_seed(0)
    both = IRN("resnet18")
    image = rand(1, 3, 65, 67)
    edge, displacement = alone.eval()(image)
    assert displacement is None
    assert set(alone.state_dict()) == {key for key in both.state_dict() if not key.startswith("displacement")}
    assert torch.equal(edge, both.eval()(image)[0]) and torch.equal(edge, alone.edges(image))
    assert torch.equal(irn.eval()(image)[0], irn.edges(image))
