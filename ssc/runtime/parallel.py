"""Per-image work in threads, for kernels that release the interpreter lock, and in batches."""

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results in the order of the items; at most `2 * threads` items are taken ahead, so that memory stays bounded.

    Nested, the calls make a pipeline: the threads of each work while the caller takes its results. An exception ends
    it; what has not begun by then is left undone.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def batch_map(
    function: Callable[[list[Item]], Iterable[Result]],
    items: Iterable[Item],
    *,
    key: Callable[[Item], Hashable],
    room: Callable[[Item], int],
    ahead: int,
) -> Iterator[Result]:
    """Results in the order of the items, of which `function` gets several of equal `key` at once.

    Args:
        function: list of items to their results.
        items: taken as needed.
        key: what the items of a batch have in common.
        room: items in a batch that begins with this one, at least 1.
        ahead: items and results held at a time; a batch is chosen among them. With 1 each item goes alone.
    """
    items = enumerate(items)
    waiting: dict[int, Item] = {}
    results: dict[int, Result] = {}
    for position in count():
        waiting.update(islice(items, ahead - len(waiting) - len(results)))
        if position not in results:
            if not waiting:
                return
            first = waiting[position]
            alike = (k for k, item in waiting.items() if key(item) == key(first))
            chosen = list(islice(alike, room(first)))
            results.update(zip(chosen, function([waiting.pop(k) for k in chosen]), strict=True))
        yield results.pop(position)
