"""The reconstruction net written out."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssc.models.reconstruction import LayerNorm, ReconstructionNet
from tests.unit.models.networks_by_hand import on_meta, rand


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


def test_scales_of_the_layer_norms_start_at_one_or_uniform():
    torch.manual_seed(0)
    ones, drawn = (ReconstructionNet(4, gamma, width=64) for gamma in ("one", "uniform"))
    layers = [[layer for layer in net.modules() if isinstance(layer, LayerNorm)] for net in (ones, drawn)]
    assert all((layer.gamma == 1).all() for layer in layers[0])
    values = torch.cat([layer.gamma.detach() for layer in layers[1]])
    assert values.min() >= 0 and values.max() <= 1
    assert abs(values.mean() - 0.5) < 0.1 and abs(values.std() - 12**-0.5) < 0.05
    assert all((layer.beta == 0).all() for layer in layers[1])
    assert [name for name, _ in drawn.named_parameters()] == [name for name, _ in ones.named_parameters()]
    assert any(name.endswith("gamma") for name, _ in drawn.named_parameters())
