"""The CAM classifier against a forward pass with the suppression written out."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ssc.models.backbones
from ssc.models.backbones import Backbone, BasicBlock, Bottleneck
from ssc.models.classifier import CAMClassifier
from ssc.models.networks import NETWORKS, Network
from tests.unit.models.networks_by_hand import on_meta, rand, randomised, suppress


def small_classifier(**options):
    torch.manual_seed(0)
    model = CAMClassifier(3, "resnet18", **options)
    randomised(model.backbone)
    return model


def slow_features(model, image, *, after_third, in_fifth):
    """Stage by stage with the suppression written out; VGG16's stages begin with pooling, which is not suppressed."""
    stages = model.backbone.stages()
    x = stages[2](stages[1](stages[0](image)))
    early = stages[3](suppress(x) if after_third else x)
    x = early
    for block in stages[4]:
        x = block(x)
        if in_fifth and isinstance(block, BasicBlock | Bottleneck | nn.ReLU):
            x = suppress(x)
    return early, torch.einsum("bdhw,cd->bchw", x, model.classifier.weight[:, :, 0, 0])


def without_drs(model, name):
    """The same network, nothing attached to it."""
    plain = on_meta(CAMClassifier, 3, name, drs=False)
    plain.load_state_dict(model.state_dict(), assign=True)
    return plain.eval()


@pytest.mark.parametrize("name", list(NETWORKS))
def test_drs_after_the_third_stage_and_in_the_fifth_of_every_network(name):
    model = on_meta(CAMClassifier, 3, name)
    randomised(model)
    plain, image = without_drs(model, name), rand(2, 3, 64, 80)
    with torch.no_grad():
        unsuppressed = slow_features(plain, image, after_third=False, in_fifth=False)[1]
        for training in (True, False):
            early, features = model.train(training).forward_features(image)
            slow_early, slow = slow_features(plain, image, after_third=training, in_fifth=True)
            torch.testing.assert_close(early, slow_early)
            torch.testing.assert_close(features, slow)
            assert not torch.allclose(features, unsuppressed)
        assert not torch.allclose(early, slow_features(plain, image, after_third=True, in_fifth=True)[0])


@pytest.mark.parametrize(
    ("options", "training", "suppressed"),
    [
        ({"drs_at_inference": False}, False, False),
        ({"drs_at_inference": False}, True, True),
        ({"drs": False}, True, False),
    ],
)
def test_drs_can_be_switched_off(options, training, suppressed):
    model = small_classifier(**options).train(training)
    image = rand(2, 3, 64, 80)
    _, features = model.forward_features(image)
    plain = without_drs(model, "resnet18")
    torch.testing.assert_close(features, slow_features(plain, image, after_third=suppressed, in_fifth=suppressed)[1])
    logits, again = model(image)
    assert torch.equal(again, features)
    torch.testing.assert_close(logits, features.flatten(2).sum(dim=2) / features[0, 0].numel())


def test_a_copy_suppresses_by_its_own_bound():
    model = small_classifier().eval()
    image = rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)[1]
        other = copy.deepcopy(model)
        other.drs.delta = 0.2
        assert torch.equal(model(image)[1], before) and not torch.equal(other(image)[1], before)
        other.drs_at_inference = False
        assert torch.equal(model(image)[1], before)
        torch.testing.assert_close(other(image)[1], without_drs(model, "resnet18")(image)[1])


class LinearBackbone(Backbone):
    """Five stages, of which the last has no activation."""

    channels = (4,) * 5

    def __init__(self, name, *, output_stride, dilate):
        super().__init__()
        body = [nn.Sequential(nn.Conv2d(4 if k else 3, 4, 3, 2, padding=1), nn.ReLU()) for k in range(4)]
        self.body = nn.ModuleList([*body, nn.Sequential(nn.Conv2d(4, 4, 1))])

    def stages(self):
        return list(self.body)


def test_drs_for_a_network_whose_last_stage_has_no_activation_is_refused(monkeypatch):
    network = Network(f"{__name__}:LinearBackbone", (16,))
    monkeypatch.setattr(ssc.models.backbones, "resolve_name", lambda builder: LinearBackbone)
    monkeypatch.setitem(NETWORKS, "linear", network)
    with pytest.raises(ValueError, match=r"last stage has none; take another backbone, or set classifier.drs"):
        CAMClassifier(3, "linear")
    assert CAMClassifier(3, "linear", drs=False)(rand(1, 3, 64, 64))[0].shape == (1, 3)


@pytest.mark.parametrize(("training", "calls"), [(True, 4), (False, 3)])
def test_resnet50_has_drs_after_layer2_and_each_of_three_blocks_and_maps_at_stride_16(training, calls):
    model = on_meta(CAMClassifier, 20).train(training)
    shapes = []
    model.drs.register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape)))
    logits, features = model(torch.empty(2, 3, 512, 512, device="meta"))
    assert (logits.shape, features.shape) == ((2, 20), (2, 20, 32, 32))
    assert shapes == ([(2, 512, 64, 64)] if training else []) + [(2, 2048, 32, 32)] * 3
    assert len(shapes) == calls
    assert model.classifier.bias is None


def test_vgg16_at_stride_8_has_drs_after_each_relu_and_not_after_the_pooling():
    model = randomised(on_meta(CAMClassifier, 3, "vgg16", output_stride=8))
    image = rand(2, 3, 48, 64)
    with torch.no_grad():
        early, features = model.forward_features(image)
        x = F.max_pool2d(early, 3, stride=1, padding=1)
        for conv in (model.backbone.features[index] for index in (24, 26, 28)):
            x = suppress(F.conv2d(x, conv.weight, conv.bias, padding=1).relu())
    torch.testing.assert_close(features, F.conv2d(x, model.classifier.weight))


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_stages_up_to_one_are_not_trained(stop):
    model = small_classifier(stop_gradient_after=stop).train()
    model(rand(2, 3, 64, 64))[0].sum().backward()
    for number, stage in enumerate([*model.backbone.stages(), model.classifier]):
        trained = number > stop or stop == 0
        for parameter in stage.parameters():
            affine_of_the_stem = number == 0 and parameter.dim() == 1  # frozen norms, see below
            assert (parameter.grad is not None) == parameter.requires_grad == (trained and not affine_of_the_stem)


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_norms_keep_statistics_and_the_affine_part_of_the_stem(freeze):
    model = small_classifier(freeze_norm=freeze, stop_gradient_after=0).train()
    norms = [layer for layer in model.backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = copy.deepcopy([norm.state_dict() for norm in norms])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    model(rand(2, 3, 64, 64))[0].sum().backward()
    optimizer.step()
    for norm, old in zip(norms, before, strict=True):
        for name, value in norm.state_dict().items():
            still = freeze and (name not in ("weight", "bias") or norm is model.backbone.bn1)
            assert torch.equal(value, old[name]) == still
    assert all(norm.training != freeze for norm in norms)
    assert model.training and model.backbone.layer3.training
