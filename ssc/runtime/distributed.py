"""Several processes train one network, each on its part of every batch; see `ssc.training.launch` for their start.

A process computes shares: it divides by what the whole batch counts, so that the losses of all processes, and their
gradients, add up to those of the whole batch. With one process a share is everything.
"""

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import nn

from ssc.runtime.errors import InputError

_BUCKET = 8_000_000  # values that are summed in one message, 32 MB


def processes() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, 0 .. processes - 1. It takes the samples rank, rank + processes, ... of each batch."""
    return dist.get_rank() if processes() > 1 else 0


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def global_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all processes, without gradient; with one process the tensor itself.

    Every process must call it, and with the same shape.
    """
    if processes() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def sum_gradients(modules: Iterable[nn.Module]) -> None:
    """Give every parameter the sum of its gradients over all processes; called between backward and the step.

    DistributedDataParallel would send the gradients while backward runs. It wants all losses as the forward pass of one
    module, and searches its graph in every step for parameters without gradient, which the trainings have in some
    epochs. These few messages after backward leave the trainings as they are.
    """
    if processes() == 1:
        return
    gradients = [each.grad for module in modules for each in module.parameters() if each.grad is not None]
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        for gradient, values in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
            gradient.copy_(values.view(gradient.shape))


def synchronise_norms(network: nn.Module) -> None:
    """Let the batch norms that are in training mode take their statistics over all processes.

    Raises:
        InputError: there are any, and the network is on the CPU, where PyTorch cannot do that.
    """
    trained = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d) and each.training]
    if processes() == 1 or not trained:
        return
    if next(network.parameters()).device.type == "cpu":
        raise InputError(
            "Batch norms can be trained by several processes on GPUs only; set freeze_norm: true, "
            "or ask for one process (resource gpu: 1)."
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(network)


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.numel() for each in bucket) + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
