"""DeepLabV2 as branches over torchvision's features."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ssc.models.deeplab import DeepLabV2, load_networks, mean_logits
from ssc.models.weights import save_weights
from ssc.runtime.errors import InputError
from tests.unit.models.networks_by_hand import (
    deeplab_resnet50,
    on_meta,
    rand,
    randomised,
    torchvision_stages,
    with_weights_of,
)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", ["tiny", "resnet50", "resnet101", "vgg16"])
def test_deeplab_logits_lie_at_the_output_stride(name, stride):
    model = on_meta(DeepLabV2, 21, name, output_stride=stride)
    assert model(torch.empty(1, 3, 96, 64, device="meta")).shape == (1, 21, 96 // stride, 64 // stride)


@pytest.mark.parametrize("stride", [16, 8])
def test_deeplab_sums_dilated_branches_over_torchvisions_features(stride):
    reference = deeplab_resnet50(stride)
    torch.manual_seed(0)
    model = DeepLabV2(5, "resnet50", output_stride=stride).eval()
    with_weights_of(reference, model.backbone)
    image = rand(1, 3, 65, 70)
    features = torchvision_stages(reference, image)[-1]
    expected = torch.zeros(())
    for branch, rate in zip(model.aspp, (6, 12, 18, 24), strict=True):
        expected = expected + F.conv2d(features, branch.weight, branch.bias, padding=rate, dilation=rate)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(image), expected)


@pytest.mark.parametrize("stride", [8, 16])
def test_deeplab_vgg16_pools_its_features_without_a_stride(stride):
    model = on_meta(DeepLabV2, 3, "vgg16", output_stride=stride, rates=(2, 4))
    randomised(model)
    image = rand(1, 3, 48, 64)
    features = F.max_pool2d(model.backbone(image)[-1], 3, stride=1, padding=1)
    expected = torch.zeros(())
    for branch, rate in zip(model.aspp, (2, 4), strict=True):
        fc6, fc7, head = (layer for layer in branch if isinstance(layer, nn.Conv2d))
        hidden = F.conv2d(features, fc6.weight, fc6.bias, padding=rate, dilation=rate).relu()
        hidden = F.conv2d(hidden, fc7.weight, fc7.bias).relu()
        expected = expected + F.conv2d(hidden, head.weight, head.bias)
    assert expected.std() > 0.1
    torch.testing.assert_close(model.eval()(image), expected)


def test_deeplab_vgg16_has_a_large_field_of_view_in_each_branch():
    model = on_meta(DeepLabV2, 21, "vgg16", rates=(6, 12))
    for branch, rate in zip(model.aspp, (6, 12), strict=True):
        convs = [layer for layer in branch if isinstance(layer, nn.Conv2d)]
        assert [c.weight.shape for c in convs] == [(1024, 512, 3, 3), (1024, 1024, 1, 1), (21, 1024, 1, 1)]
        assert convs[0].dilation == convs[0].padding == (rate, rate)
        assert [layer.p for layer in branch if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_deeplab_branches_start_at_a_hundredth():
    torch.manual_seed(0)
    for branch in DeepLabV2(21, "resnet18").aspp:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert abs(branch.weight.mean().item()) < 1e-4 and not branch.bias.any()


def test_one_network_or_a_pair_is_loaded(tmp_path):
    options = {"num_classes": 4, "backbone": "tiny", "output_stride": 4, "rates": [1, 2]}
    model, second = DeepLabV2(**options), DeepLabV2(**options)
    save_weights(tmp_path / "one.safetensors", {"segmentation": (model, options)})
    save_weights(tmp_path / "two.safetensors", {"segmentation_2": (second, options), "segmentation": (model, options)})
    for name, expected in (("one", [model]), ("two", [model, second])):
        networks = load_networks(tmp_path / f"{name}.safetensors")
        for network, own in zip(networks, expected, strict=True):
            assert not network.training
            assert all(torch.equal(value, own.state_dict()[key]) for key, value in network.state_dict().items())
    save_weights(tmp_path / "other.safetensors", {"segmentation_2": (second, options)})
    with pytest.raises(InputError, match=r"other\.safetensors holds no segmentation \(DeepLabV2\)"):
        load_networks(tmp_path / "other.safetensors")


def test_mean_logits_of_a_pair_at_the_size_of_the_photo():
    networks = [DeepLabV2(3, "tiny", output_stride=8, rates=(1,)).eval() for _ in range(2)]
    image = rand(2, 3, 32, 48)
    with torch.no_grad():
        first, second = (network(image) for network in networks)
        found = mean_logits(networks, image, size=(29, 41), precision="fp32")
        alone = mean_logits(networks[:1], image, size=(29, 41), precision="bf16")
    resized = [F.interpolate(each, size=(29, 41), mode="bilinear", align_corners=False) for each in (first, second)]
    torch.testing.assert_close(found, (resized[0] + resized[1]) / 2)
    assert alone.dtype == torch.float32 and not torch.equal(alone, resized[0])
    torch.testing.assert_close(alone, resized[0], rtol=0.1, atol=0.01)
