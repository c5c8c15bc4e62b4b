"""The size of a network and of its work, counted and not known: also on torch's meta device, where nothing is computed
and nothing takes room."""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import conv_flop_count, flop_registry


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


def peak_bytes(work: Callable[[], object], *, leave_out: Iterable[torch.Tensor] = ()) -> int:
    """Most bytes that the results of operations hold at a time while `work` runs without gradients.

    Every storage counts once and with its whole size. What an operation needs for itself alone does not count.

    Args:
        work: what is done.
        leave_out: tensors whose storages do not count, such as parameters and the input image.
    """
    with torch.no_grad(), _Live(leave_out) as live:
        work()
    return live.peak


class _Live(TorchDispatchMode):
    """Keeps account of the storages that operations give and that are still in use."""

    def __init__(self, leave_out: Iterable[torch.Tensor]):
        super().__init__()
        self.peak = 0
        self._known = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in leave_out}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:  # a sparse one holds such
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in self._known:
                    self._live[reference.cdata] = reference, storage.nbytes()
        self._live = {key: found for key, found in self._live.items() if not found[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return result


def count_flops(work: Callable[[], object], *, backward: bool = False) -> int:
    """Multiplications and additions in the convolutions and matrix products of `work`.

    Args:
        work: returns tensors, or None in place of some.
        backward: count the backward pass from all of them, too.
    """
    with _Flops() as counter:
        outputs = tree_leaves(work())
        if backward:
            sum(each.float().sum() for each in outputs if each is not None and each.requires_grad).backward()
    return counter.total


class _Flops(TorchDispatchMode):
    """Adds up the work of operations by torch's own formulas, without its account by module, which takes seconds."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        packet = function.overloadpacket
        if packet is torch.ops.aten.convolution_backward:  # of which torch's formula forgets that channels have groups
            gradient, image, weight, *_, transposed, _, _, wanted = args
            forward = conv_flop_count(image.shape, weight.shape, gradient.shape, transposed)
            self.total += forward * sum(wanted[:2])  # gradients of image and weight; that of the bias costs nothing
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        return result
