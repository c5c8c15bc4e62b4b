"""Networks against torchvision's with equal weights, and against their formulas written out."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ssc.models.networks import OUTPUT_STRIDES
from ssc.models import IRN, CAMClassifier, DeepLabV2, DiscriminativeRegionSuppression, ReconstructionNet, backbone
from ssc.models.backbones import freeze_batch_norm
from ssc.models.perceptual import loss_network
from ssc.models.reconstruction import LayerNorm

CHOICES = [(name, stride) for name, strides in OUTPUT_STRIDES.items() for stride in strides]


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(build, *args, **options):
    """A network whose tensors have shapes but no values: big ones cost nothing."""
    with torch.device("meta"):
        return build(*args, **options)


def randomised(network, seed=0):
    """Random values that keep activations of the order of 1, batch norm statistics included."""
    rng = torch.Generator().manual_seed(seed)
    if any(parameter.is_meta for parameter in network.parameters()):
        network = network.to_empty(device="cpu")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            for tensor, low in ((layer.weight, 0.5), (layer.bias, -0.2), (layer.running_mean, -0.2)):
                nn.init.uniform_(tensor, low, low + 0.4, generator=rng)
            nn.init.uniform_(layer.running_var, 0.8, 1.2, generator=rng)
    return network.eval()


def with_weights_of(reference, network):
    """Our network with torchvision's tensors: names must match one to one but for the classification head."""
    state = {key: value for key, value in reference.state_dict().items() if not key.startswith(("fc.", "classifier."))}
    network.load_state_dict(state)
    return network.eval()


def torchvision_stages(network, image):
    features = [network.maxpool(network.relu(network.bn1(network.conv1(image))))]
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        features.append(layer(features[-1]))
    return features


# Discriminative region suppression


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


# Backbones


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_backbone_is_torchvisions(name):
    reference = randomised(getattr(torchvision.models, name)(weights=None))
    own = with_weights_of(reference, backbone(name, output_stride=32))
    image = rand(1, 3, 65, 70)
    for ours, theirs in zip(own(image), torchvision_stages(reference, image), strict=True):
        assert torch.equal(ours, theirs)


def deeplab_resnet50(stride):
    """torchvision's dilated network with DeepLab's rates: all blocks of a stage are dilated alike."""
    replaced = {16: [False, False, True], 8: [False, True, True]}[stride]
    reference = randomised(torchvision.models.resnet50(weights=None, replace_stride_with_dilation=replaced))
    for layer, rate in ((reference.layer3, 16 // stride), (reference.layer4, 32 // stride)):
        layer[0].conv2.dilation = layer[0].conv2.padding = (rate, rate)
    return reference


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
    for layer, rate in zip(backbone(name, output_stride=stride, dilate=True).layers(), rates, strict=True):
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
    assert len(network.layers()) == 4


@pytest.mark.parametrize(
    ("name", "stride", "word"), [("resnet19", 16, "resnet19"), ("resnet50", 4, "4"), ("tiny", 32, "32")]
)
def test_unknown_backbones_are_refused(name, stride, word):
    with pytest.raises(ValueError, match=word):
        backbone(name, output_stride=stride)


# CAM classifier


def small_classifier(**options):
    torch.manual_seed(0)
    model = CAMClassifier(3, "resnet18", **options)
    randomised(model.backbone)
    return model


def suppress(x, delta=0.55):
    return x.clamp(max=(delta * x.flatten(2).max(dim=2).values)[..., None, None])


def slow_stages(model, image, *, after_layer2, in_layer4):
    """Forward pass with the suppression written out."""
    body = model.backbone
    x = body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(image)))))
    x = body.layer2(x)
    third = body.layer3(suppress(x) if after_layer2 else x)
    x = third
    for block in body.layer4:
        x = suppress(block(x)) if in_layer4 else block(x)
    return third, torch.einsum("bdhw,cd->bchw", x, model.classifier.weight[:, :, 0, 0])


@pytest.mark.parametrize(
    ("options", "training", "after_layer2", "in_layer4"),
    [
        ({}, True, True, True),
        ({}, False, False, True),
        ({"drs_at_inference": False}, False, False, False),
        ({"drs_at_inference": False}, True, True, True),
        ({"drs": False}, True, False, False),
        ({"drs": False}, False, False, False),
    ],
)
def test_placement_of_drs(options, training, after_layer2, in_layer4):
    model = small_classifier(**options).train(training)
    image = rand(2, 3, 64, 80)
    third, features = model.stages(image)
    slow_third, slow_features = slow_stages(model, image, after_layer2=after_layer2, in_layer4=in_layer4)
    torch.testing.assert_close(third, slow_third)
    torch.testing.assert_close(features, slow_features)
    logits, again = model(image)
    assert torch.equal(again, features)
    torch.testing.assert_close(logits, features.flatten(2).sum(dim=2) / features[0, 0].numel())
    wrong = slow_stages(model, image, after_layer2=not after_layer2, in_layer4=in_layer4)[1]
    assert not torch.allclose(features, wrong)


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


@pytest.mark.parametrize("stride", [8, 16])
def test_vgg16_has_drs_after_each_relu_of_its_last_stage_and_not_after_the_pooling(stride):
    model = on_meta(CAMClassifier, 3, "vgg16", output_stride=stride)
    randomised(model)
    image = rand(2, 3, 48, 64)
    fourth, features = model.stages(image)
    x = F.max_pool2d(fourth, 2) if stride == 16 else F.max_pool2d(fourth, 3, stride=1, padding=1)
    for conv in (model.backbone.features[index] for index in (24, 26, 28)):
        x = suppress(F.conv2d(x, conv.weight, conv.bias, padding=1).relu())
    torch.testing.assert_close(features, F.conv2d(x, model.classifier.weight))


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_gradient_stops_after_a_stage_in_training(stop):
    model = small_classifier(stop_gradient_after=stop).train()
    model(rand(2, 3, 64, 64))[0].sum().backward()
    stages = [[model.backbone.conv1], *model.backbone.layers(), [model.classifier]]
    for number, stage in enumerate(stages):
        trained = [p.grad is not None for layer in stage for p in layer.parameters()]
        assert set(trained) == {number > stop or stop == 0}


def test_no_gradient_stops_in_evaluation():
    model = small_classifier().eval()
    model(rand(1, 3, 64, 64))[0].sum().backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


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


def test_freezing_batch_norms_leaves_other_layers_alone():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout()).train()
    freeze_batch_norm(network)
    assert [layer.training for layer in network] == [True, False, True]
    assert network[1].weight.requires_grad
    freeze_batch_norm(network, affine=True)
    assert not network[1].weight.requires_grad and not network[1].bias.requires_grad
    assert network[0].weight.requires_grad


# Reconstruction network


def test_reconstruction_net_of_the_paper():
    net = on_meta(ReconstructionNet, 20)
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_631_811
    narrow = ReconstructionNet(20, width=16)
    assert narrow(torch.zeros(2, 20, 32, 32)).shape == (2, 3, 512, 512)


@pytest.mark.parametrize(("upsamplings", "widths"), [(2, [32, 32, 16]), (3, [32, 32, 16, 8]), (4, [32, 32, 16, 8, 4])])
def test_reconstruction_doubles_as_often_as_asked(upsamplings, widths):
    torch.manual_seed(0)
    net = ReconstructionNet(5, width=32, upsamplings=upsamplings)
    image = net(100 * rand(2, 5, 3, 4))
    assert image.shape == (2, 3, 3 * 2**upsamplings, 4 * 2**upsamplings)
    assert image.abs().max() <= 1
    own = [(block.conv.conv.in_channels, block.conv.conv.out_channels) for block in net.upsample]
    assert own == list(pairwise(widths))
    image.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def slow_layer_norm(x, layer):
    out = np.empty_like(x)
    for b, sample in enumerate(x):
        standard = np.sqrt(((sample - sample.mean()) ** 2).sum() / (sample.size - 1))
        out[b] = (sample - sample.mean()) / (standard + 1e-5)
    return out * layer.gamma.detach().numpy()[:, None, None] + layer.beta.detach().numpy()[:, None, None]


def test_layer_norm_is_per_sample_with_unbiased_deviation():
    layer = LayerNorm(4).double()
    with torch.no_grad():
        layer.gamma.copy_(torch.arange(4.0) - 1.5)
        layer.beta.copy_(torch.arange(4.0))
    # Few values and a small deviation: unbiased or not, and where 1e-5 is added, shows.
    x = 1e-4 * rand(3, 4, 2, 1).double() + 7
    np.testing.assert_allclose(layer(x).detach().numpy(), slow_layer_norm(x.numpy(), layer), rtol=1e-9)


def test_layer_norm_gradients():
    layer = LayerNorm(3).double()
    with torch.no_grad():
        layer.gamma.copy_(torch.tensor([-1.5, 0.5, 2.0]))
    x = rand(2, 3, 4, 5).double().requires_grad_()

    def normalised(x, gamma, beta):
        return torch.func.functional_call(layer, {"gamma": gamma, "beta": beta}, (x,))

    parameters = [p.detach().clone().requires_grad_() for p in (layer.gamma, layer.beta)]
    assert torch.autograd.gradcheck(normalised, (x, *parameters))


def test_layer_norm_in_half_precision_computes_in_full():
    layer, x = LayerNorm(4), (rand(2, 4, 30, 30) + 50).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = layer(x)
    assert own.dtype == torch.bfloat16
    torch.testing.assert_close(own.float(), layer(x.float()), rtol=0.01, atol=0.01)


def test_recomputed_blocks_give_the_same_bits_and_save_less():
    torch.manual_seed(0)
    net = ReconstructionNet(4, width=16, upsamplings=3)
    features = rand(2, 4, 4, 4).requires_grad_()
    results, counts = [], []
    for net.recompute in (False, True):
        net.zero_grad()
        features.grad = None
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t):
            image = net(features)
        image.square().mean().backward()
        results.append([image.detach(), features.grad, *(p.grad for p in net.parameters())])
        counts.append(sum(saved))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert counts[1] < 0.6 * counts[0]


def test_reconstruction_net_written_out():
    torch.manual_seed(0)
    net = ReconstructionNet(4, width=8, upsamplings=1).double()
    features = rand(2, 4, 3, 5).double()

    def block(x, conv_block, activate=True, border="constant"):
        padded = np.pad(x.detach().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode=border)
        x = F.conv2d(torch.from_numpy(padded), conv_block.conv.weight, conv_block.conv.bias)
        x = torch.from_numpy(slow_layer_norm(x.detach().numpy(), conv_block.norm))
        return x.clamp(min=0) if activate else x

    head = block(features, net.head, border="reflect")
    x = head + block(block(head, net.residual[0]), net.residual[1], activate=False)
    # A transposed convolution of stride 2: zeros between the pixels, then the mirrored kernel.
    up = net.upsample[0]
    spread = torch.zeros(2, 8, 5, 9, dtype=torch.float64)
    spread[:, :, ::2, ::2] = x
    x = F.conv2d(spread, up.up.weight.flip(2, 3).transpose(0, 1), padding=2)
    x = (x - x.mean(dim=(2, 3), keepdim=True)) / (x.var(dim=(2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    x = block(x.clamp(min=0), up.conv)
    expected = F.conv2d(x, net.tail.weight, net.tail.bias, padding=1).tanh()
    torch.testing.assert_close(net(features), expected)
    assert net.head.conv.bias is None and up.up.bias is None and net.tail.bias is not None


# IRN


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


# DeepLabV2


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


# Loss networks other than VGG-19 (test_losses.py)


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
