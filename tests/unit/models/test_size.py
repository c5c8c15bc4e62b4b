"""What is counted of a network and of its work: hand-made graphs."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from ssc.models.size import count_flops, count_parameters, peak_bytes, saved_bytes

FLOAT = 4  # bytes


def leaf(*shape):
    return torch.ones(*shape, requires_grad=True)


def cut_off(x):
    middle = (2 * x.exp()).detach()
    return (middle * leaf(10)).exp()


@pytest.mark.parametrize(
    ("step", "saved", "held"),
    [
        (lambda x: x.exp(), 10, 10),  # the output
        (lambda x: x.exp().exp(), 20, 20),
        (lambda x: x + 1, 0, 0),
        (lambda x: x.sin(), 10, 10),  # the input
        (lambda x: (x.sin(), x.cos()), 10, 10),  # the same input
        (lambda x: (x[:3].sin(), x[5:].cos()), 10, 10),  # two views of it: its whole storage
        (lambda x: x.exp().view(2, 5).sin(), 10, 10),  # output of one, and as a view input of the next
        (lambda x: x.detach() + 1, 0, 0),
        (cut_off, 30, 20),  # the first exponential is saved, but by a graph that is gone
    ],
)
def test_every_storage_counts_once(step, saved, held):
    x = leaf(10)
    assert saved_bytes(partial(step, x)) == (saved * FLOAT, held * FLOAT)


def test_what_is_left_out_does_not_count_nor_do_its_views():
    x = leaf(10)
    assert saved_bytes(lambda: (x[:3].sin(), x.exp()), leave_out=[x]) == (10 * FLOAT, 10 * FLOAT)


def test_a_convolution_saves_input_and_weight():
    layer, x = nn.Conv2d(3, 5, 3, bias=False), torch.ones(2, 3, 8, 8)
    assert saved_bytes(lambda: layer(x))[0] == (x.numel() + layer.weight.numel()) * FLOAT
    assert saved_bytes(lambda: layer(x), leave_out=layer.parameters())[0] == x.numel() * FLOAT


def test_addresses_that_are_used_again_count_again():
    def step():
        x = leaf(1000)
        for _ in range(5):
            x = x.exp().detach().requires_grad_()  # each graph, and with it the saved output's, dies at once
        return x

    assert saved_bytes(step) == (5000 * FLOAT, 1000 * FLOAT)


def test_counting_keeps_nothing_alive():
    made = []

    def step():
        output = leaf(10).exp()
        made.append(StorageWeakRef(output.untyped_storage()))
        return output

    saved_bytes(step)
    assert made[0].expired()


def test_a_step_on_the_meta_device_saves_as_much():
    def step():
        layer = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
        return layer(torch.ones(2, 3, 8, 8))

    expected = saved_bytes(step)
    with torch.device("meta"):
        assert saved_bytes(step) == expected


def test_parameters_and_statistics_count():
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    assert count_parameters(network) == 3 * 5 * 9 + 5 + 4 * 5 + 1


def grown_and_dropped(x):
    y = torch.cat([x, x])  # 20
    z = y.exp()  # 40
    del y
    return (z + 1)[:5] * 2  # 40, of which 5 are a view of 20; then 25


@pytest.mark.parametrize(
    ("work", "peak"),
    [
        (lambda x: x.exp(), 10),
        (lambda x: x.exp().exp().exp(), 20),  # one goes when the next is there
        (lambda x: x.exp().view(2, 5)[0], 10),
        (lambda x: x.exp().add_(1), 10),
        (lambda x: x[:5].view(5, 1), 0),
        (grown_and_dropped, 45),
    ],
)
def test_what_is_held_at_a_time(work, peak):
    x = torch.ones(10)
    assert peak_bytes(partial(work, x), leave_out=[x]) == peak * FLOAT
    with torch.device("meta"):
        x = torch.ones(10)
        assert peak_bytes(partial(work, x), leave_out=[x]) == peak * FLOAT


def test_multiplications_and_additions_of_a_network():
    with torch.device("meta"):
        x = torch.ones(2, 6, 8, 8)
        network = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=3), nn.ReLU(), nn.Conv2d(6, 4, 1))
        grouped, pointwise = 2 * 2 * 64 * 6 * 2 * 9, 2 * 2 * 64 * 6 * 4
        assert count_flops(partial(network, x)) == grouped + pointwise
        # Backward: as much for the weights, and again for the input, which the first layer's needs no gradient of.
        assert count_flops(partial(network, x), backward=True) == 2 * grouped + 3 * pointwise
        network[0].requires_grad_(False)
        assert count_flops(partial(network, x), backward=True) == grouped + 2 * pointwise
