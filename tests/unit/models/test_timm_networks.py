"""Networks of timm as backbones: against timm's own maps, torchvision's networks, and in every role."""

import pytest
import timm
import torch
from torch import nn

from ssc.models import IRN, CAMClassifier, DeepLabV2, backbone
from ssc.models.drs import activated_blocks
from ssc.models.networks import check_network
from ssc.models.perceptual import loss_network
from ssc.models.weights import load_part, save_weights
from ssc.runtime.errors import InputError
from tests.unit.models.networks_by_hand import rand, randomised, suppress

CONVOLUTIONAL = [
    "resnet18.a1_in1k",
    "resnext50_32x4d",
    "regnety_002",
    "mobilenetv3_small_050",
    "tf_efficientnet_lite0",
    "convnext_atto",
]
TRANSFORMERS = ["deit_tiny_patch16_224", "vit_small_patch14_dinov2"]


def normalised(image, mean, std):
    """A photo in 0..1, normalised."""
    return (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def photo(height=96, width=64):
    """A photo in 0..1, and as the project normalises it."""
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    return image, normalised(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_five_maps_with_the_strides_of_a_network(name, stride):
    network = backbone(name, output_stride=stride).eval()
    maps = network(rand(1, 3, 128, 64))
    assert [each.shape[1] for each in maps] == list(network.channels)
    full = (4 if name.startswith("convnext") else 2, 4, 8, 16, 32)
    assert [128 // each.shape[2] for each in maps] == [min(reached, stride) for reached in full]
    assert [64 // each.shape[3] for each in maps] == [min(reached, stride) for reached in full]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_maps_cover_photos_of_any_size(name):
    """Patches of 2 x 2 or 4 x 4 would leave out the last row and column."""
    network = backbone(name, output_stride=16).eval()
    strides = [4 if name.startswith("convnext") else 2, 4, 8, 16, 16]
    for height, width in ((65, 70), (99, 33)):
        for each, stride in zip(network(rand(1, 3, height, width)), strides, strict=True):
            assert each.shape[2:] == (-(-height // stride), -(-width // stride))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_has_one_stride_whatever_its_patch(name):
    network = backbone(name, output_stride=16).eval()
    for height, width in ((64, 96), (70, 33)):
        for each in network(rand(1, 3, height, width)):
            assert each.shape == (1, network.channels[0], -(-height // 16), -(-width // 16))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnext_atto"])
def test_maps_are_timms_of_a_photo_that_is_normalised_as_the_network_asks(name):
    own = randomised(backbone(name, output_stride=32)).eval()
    theirs = timm.create_model(name, features_only=True).eval()
    theirs.load_state_dict({key.removeprefix("network."): value for key, value in own.state_dict().items()})
    cfg = timm.get_pretrained_cfg(name)
    image, ours = photo()
    expected = theirs(normalised(image, cfg.mean, cfg.std))
    for mine, other in zip(own(ours)[-len(expected) :], expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_a_transformers_maps_are_its_normalised_tokens():
    own = randomised(backbone("deit_tiny_patch16_224", output_stride=16)).eval()
    image = rand(1, 3, 224, 224)
    tokens = own.network.model.forward_features(image)[:, 1:]
    torch.testing.assert_close(own(image)[-1].flatten(2).transpose(1, 2), tokens, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_a_resnet_of_timms_is_torchvisions(stride):
    ours = randomised(backbone("resnet18", output_stride=stride)).eval()
    theirs = backbone("resnet18.a1_in1k", output_stride=stride).eval()
    theirs.load_state_dict({f"network.{key}": value for key, value in ours.state_dict().items()})
    image = rand(1, 3, 65, 70)
    for mine, other in zip(ours(image)[1:], theirs(image)[1:], strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnext_atto"])
def test_dropped_strides_are_dilated_only_where_that_is_asked(name):
    def rates(dilate):
        layers = backbone(name, output_stride=16, dilate=dilate).modules()
        return {layer.dilation for layer in layers if isinstance(layer, nn.Conv2d)}

    assert rates(False) == {(1, 1)} and (2, 2) in rates(True)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_stages_are_all_of_the_network_and_end_with_its_maps(name):
    network = backbone(name).eval()
    stages = network.stages()
    parameters = [id(each) for stage in stages for each in stage.parameters()]
    assert sorted(parameters) == sorted(id(each) for each in network.parameters())
    outputs = []
    for stage in stages:
        *_, last = stage.children()
        last.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    maps = network(rand(1, 3, 64, 64))
    for output, each in zip(outputs[-4:], maps[-4:], strict=True):
        assert torch.equal(output, each)


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, *TRANSFORMERS])
def test_a_network_serves_in_every_role(name, tmp_path):
    drs = name not in TRANSFORMERS
    options = {"num_classes": 3, "backbone": name, "drs": drs}
    classifier = CAMClassifier(**options).train()
    logits, maps = classifier(rand(2, 3, 64, 64))
    assert logits.shape == (2, 3) and maps.shape == (2, 3, 4, 4)
    logits.sum().backward()
    stages = classifier.backbone.stages()
    assert all(each.grad is None for stage in stages[:3] for each in stage.parameters())
    assert any(each.grad is not None for each in stages[3].parameters())
    save_weights(tmp_path / "net.safetensors", {"classifier": (classifier, options)})
    again = load_part(tmp_path / "net.safetensors", "classifier", CAMClassifier)
    image = rand(1, 3, 64, 64)
    torch.testing.assert_close(again(image)[0], classifier.eval()(image)[0])

    edge, displacement = IRN(name)(image)
    assert edge.shape == (1, 1, 16, 16) and displacement.shape == (1, 2, 16, 16)
    assert DeepLabV2(4, name, output_stride=16).eval()(image).shape == (1, 4, 4, 4)
    network = loss_network(name, weights=tmp_path / "net.safetensors")
    assert len(network(image)) == 5


@pytest.mark.parametrize(
    ("name", "activated", "linear", "suppressed"),
    [
        ("resnext50_32x4d", 3, 0, 3),
        ("regnety_002", 7, 0, 7),
        ("mobilenetv3_small_050", 1, 3, 1),  # its last stage ends with a convolution and an activation
        ("tf_efficientnet_lite0", 0, 5, 5),
        ("convnext_atto", 0, 2, 2),
    ],
)
def test_drs_follows_activations_whatever_the_blocks_class(name, activated, linear, suppressed):
    model = randomised(CAMClassifier(3, name, delta=0.5))
    stage = model.backbone.stages()[4]
    hooked = [block for block in stage.children() if block._forward_hooks]
    assert len(hooked) == suppressed
    seen = []

    def look(block, inputs, output):
        seen.append(block)
        raw = block.forward(*inputs)
        assert torch.equal(output, suppress(raw, 0.5)) and (output != raw).any()

    for block in hooked:
        block.register_forward_hook(look)
    model(rand(1, 3, 64, 64))
    assert seen == hooked
    plain = backbone(name)
    found = activated_blocks(plain, plain.stages()[4])
    assert [list(found.values()).count(ends) for ends in (True, False)] == [activated, linear]


def test_drs_is_refused_where_there_are_tokens():
    with pytest.raises(InputError, match=r"last stage has none.*drs.enabled: false"):
        CAMClassifier(3, "deit_tiny_patch16_224")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet19", "resnet18"),
        ("efficientnet-lite0", "efficientnet_lite0"),
        ("dinov2", "vit_base_patch14_dinov2"),
        ("resnet18.a1_in2k", "resnet18.a1_in1k"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_the_nearest(name, told):
    with pytest.raises(ValueError, match=f"there is no network '{name}'; the nearest are .*{told}"):
        check_network(name)


@pytest.mark.parametrize(
    ("name", "stride", "why"),
    [
        ("deit_tiny_patch16_224", 8, "patches of 16 pixels stand for one stride, 16"),
        ("swin_tiny_patch4_window7_224", 32, "doesn't match model"),
        ("densenet121", 16, "output_stride"),
        ("vgg16_bn", 32, "6 maps"),
    ],
)
def test_a_network_that_cannot_give_the_maps_says_why(name, stride, why):
    with pytest.raises(ValueError, match=f"{name} cannot give maps of stride {stride} .*{why}"):
        backbone(name, output_stride=stride)
