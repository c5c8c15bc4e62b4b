"""One process, and several that are played."""

import pytest
import torch
from torch import nn

import ssc.runtime.distributed
from ssc.models.backbones import backbone, freeze_batch_norm
from ssc.runtime.distributed import global_sum, processes, rank, sum_gradients, synchronise_norms
from ssc.runtime.errors import InputError


def test_with_one_process_everything_stays_as_it_is():
    assert (processes(), rank()) == (1, 0)
    values = torch.ones(2)
    assert global_sum(values) is values
    layer = nn.Linear(2, 1)
    layer(values).backward()
    gradient = layer.weight.grad
    sum_gradients([layer])
    assert layer.weight.grad is gradient and torch.equal(gradient, torch.ones(1, 2))


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(ssc.runtime.distributed, "processes", lambda: 2)


def test_batch_norms_of_several_processes(two):
    network = backbone("tiny")
    with pytest.raises(InputError, match=r"on GPUs only; set freeze_norm: true, or ask for one process"):
        synchronise_norms(network)
    freeze_batch_norm(network)
    synchronise_norms(network)
    assert type(network.bn1) is nn.BatchNorm2d
    names = list(network.state_dict())
    network = network.train().to("meta")  # any device that is not the CPU
    parameters = list(network.parameters())
    synchronise_norms(network)
    assert type(network.bn1) is nn.SyncBatchNorm and not any(type(x) is nn.BatchNorm2d for x in network.modules())
    assert list(network.state_dict()) == names
    assert all(new is old for new, old in zip(network.parameters(), parameters, strict=True))  # the optimiser has these


def test_sums_over_processes_in_messages_of_bounded_size(monkeypatch, two):
    """The other process is played: it holds thrice what this one does."""
    messages = []

    def all_reduce(tensor):
        messages.append(tensor.numel())
        tensor.mul_(4)

    monkeypatch.setattr(ssc.runtime.distributed.dist, "all_reduce", all_reduce)
    monkeypatch.setattr(ssc.runtime.distributed, "_BUCKET", 10)
    values = torch.tensor([1.0, 2.0])
    assert global_sum(values).tolist() == [4, 8] and values.tolist() == [1, 2]

    layers = [nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(2, 2)]  # the last gets no gradient
    layers[1](layers[0](torch.ones(2, 3))).sum().backward()
    expected = [4 * parameter.grad for layer in layers[:2] for parameter in layer.parameters()]
    messages.clear()
    sum_gradients(layers)
    assert messages == [12, 4 + 4 + 1]
    for found, own in zip((p.grad for layer in layers[:2] for p in layer.parameters()), expected, strict=True):
        assert torch.equal(found, own)
    assert layers[2].weight.grad is None
