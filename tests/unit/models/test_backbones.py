"""Backbones against torchvision's with equal weights."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from ssc.models.backbones import backbone, freeze_batch_norm
from ssc.models.networks import NETWORKS
from tests.unit.models.networks_by_hand import (
    deeplab_resnet50,
    on_meta,
    rand,
    randomised,
    torchvision_stages,
    with_weights_of,
)

CHOICES = [(name, stride) for name, network in NETWORKS.items() for stride in network.output_strides]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_backbone_is_torchvisions(name):
    reference = randomised(getattr(torchvision.models, name)(weights=None))
    own = with_weights_of(reference, backbone(name, output_stride=32))
    image = rand(1, 3, 65, 70)
    for ours, theirs in zip(own(image), torchvision_stages(reference, image), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("stride", [16, 8])
def test_dilated_backbone_is_torchvisions_with_all_blocks_dilated(stride):
    reference = deeplab_resnet50(stride)
    own = with_weights_of(reference, backbone("resnet50", output_stride=stride, dilate=True))
    image = rand(1, 3, 65, 70)
    for ours, theirs in zip(own(image), torchvision_stages(reference, image), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "stride", "rates"),
    [
        ("tiny", 8, (1, 1, 2, 2)),
        ("tiny", 4, (1, 2, 4, 4)),
        ("resnet18", 16, (1, 1, 1, 2)),
        ("resnet18", 8, (1, 1, 2, 4)),
    ],
)
def test_stages_beyond_the_output_stride_are_dilated(name, stride, rates):
    for layer, rate in zip(backbone(name, output_stride=stride, dilate=True).stages()[1:], rates, strict=True):
        convs = [conv for conv in layer.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)]
        assert {conv.dilation for conv in convs} == {conv.padding for conv in convs} == {(rate, rate)}


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_undilated_backbone_only_loses_strides(name):
    reference = randomised(getattr(torchvision.models, name)(weights=None))
    own = with_weights_of(reference, backbone(name, output_stride=16))
    first = reference.layer4[0]
    (first.conv2 if name == "resnet50" else first.conv1).stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    image = rand(1, 3, 65, 70)
    assert torch.equal(own(image)[-1], torchvision_stages(reference, image)[-1])


def slow_vgg16(features, image, *, pools, dilation):
    """The thirteen convolutions; `pools` are the strides of the four pooling layers, the last stage is dilated."""
    maps, block = [], 0
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            rate = dilation if block == 4 else 1
            image = F.conv2d(image, layer.weight, layer.bias, padding=rate, dilation=rate)
        elif isinstance(layer, nn.ReLU):
            image = image.relu()
        else:
            maps.append(image)
            image = F.max_pool2d(image, 2) if pools[block] == 2 else F.max_pool2d(image, 3, stride=1, padding=1)
            block += 1
    return [*maps, image]


@pytest.mark.parametrize(
    ("stride", "dilate", "pools", "dilation"),
    [(16, True, (2, 2, 2, 2), 1), (8, True, (2, 2, 2, 1), 2), (8, False, (2, 2, 2, 1), 1)],
)
def test_vgg16_backbone(stride, dilate, pools, dilation):
    reference = randomised(on_meta(torchvision.models.vgg16, weights=None).features[:-1])
    own = on_meta(backbone, "vgg16", output_stride=stride, dilate=dilate)
    own.load_state_dict({f"features.{key}": value for key, value in reference.state_dict().items()}, assign=True)
    image = rand(1, 3, 48, 40)
    for ours, theirs in zip(own(image), slow_vgg16(reference, image, pools=pools, dilation=dilation), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("name", "stride"), CHOICES)
def test_five_stages_with_their_channels_and_strides(name, stride):
    network = on_meta(backbone, name, output_stride=stride)
    features = network(torch.empty(2, 3, 64, 96, device="meta"))
    assert [x.shape[1] for x in features] == list(network.channels)
    full = {"vgg16": (1, 2, 4, 8, 16), "tiny": (2, 4, 8, 16, 16)}.get(name, (4, 4, 8, 16, 32))
    for x, reached in zip(features, full, strict=True):
        assert x.shape[2:] == (64 // min(reached, stride), 96 // min(reached, stride))
    assert len(network.stages()) == 5


@pytest.mark.parametrize(
    ("name", "stride", "word"), [("resnet19", 16, "resnet19"), ("resnet50", 4, "4"), ("tiny", 32, "32")]
)
def test_unknown_backbones_are_refused(name, stride, word):
    with pytest.raises(ValueError, match=word):
        backbone(name, output_stride=stride)


def test_freezing_batch_norms_leaves_other_layers_alone():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout()).train()
    freeze_batch_norm(network)
    assert [layer.training for layer in network] == [True, False, True]
    assert network[1].weight.requires_grad
    freeze_batch_norm(network, affine=True)
    assert not network[1].weight.requires_grad and not network[1].bias.requires_grad
    assert network[0].weight.requires_grad
