"""The size of a network and of a training step, counted and not known: also on torch's meta device, where nothing is
computed and nothing takes room."""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef


def count_parameters(module: nn.Module) -> int:
    """Numbers of a network as its weight file holds them: parameters and running statistics."""
    return sum(tensor.numel() for tensor in module.state_dict().values())


def saved_bytes(step: Callable[[], object], *, leave_out: Iterable[torch.Tensor] = ()) -> tuple[int, int]:
    """Bytes that autograd saves for the backward pass while `step` runs.

    What counts is every storage of which a tensor or a view is saved, once and with its whole size. Saved tensors are
    all that backward formulas read: inputs, outputs, indices, running statistics, weights. Temporary values that no
    formula reads do not count, nor do gradients and the allocator's reserve.

    Args:
        step: computes losses and returns all of them, so that their graph lives on.
        leave_out: tensors whose storages do not count, such as parameters and the input image.

    Returns:
        All bytes saved on the way, and those of them that are held when `step` has returned. The rest belongs to parts
        of the graph that were cut off, such as the stages before a stopped gradient.
    """
    known = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in leave_out}
    found: dict[int, tuple[StorageWeakRef, int]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)  # keeps the address from being used again, but not the values
        if reference.cdata not in known:
            found[reference.cdata] = reference, storage.nbytes()
        return tensor.detach()  # an output that held its own graph would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        losses = step()
    held = sum(size for reference, size in found.values() if not reference.expired())
    del losses
    return sum(size for _, size in found.values()), held
