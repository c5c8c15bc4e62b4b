"""Loading of training samples: shuffled by (seed, epoch), each sample drawn from (seed, epoch, position)."""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.synchronize import Event

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ssc.data.index import Row
from ssc.runtime.distributed import processes, rank

Sample = Callable[[Row, np.random.Generator], tuple]


class _Samples(Dataset):
    def __init__(self, rows: Sequence[Row], sample: Sample, seed: int, threads: int):
        self.rows, self.sample, self.seed = rows, sample, seed
        # Its threads start once: a thread that is started when memory is exhausted lets Python wait for ever.
        self._map = ThreadPoolExecutor(threads).map if threads > 1 else map

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int]) -> tuple:
        epoch, position = key
        # From 1: NumPy takes (seed, epoch, 0) for (seed, epoch), the stream that shuffles.
        return self.sample(self.rows[position], np.random.default_rng((self.seed, epoch, position + 1)))

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[tuple]:
        return list(self._map(self.__getitem__, keys))


def _leave_signals_to_the_training(exiting: Event, worker: int) -> None:
    """Set a loader process up to outlive what a scheduler sends to all processes of a job.

    The training needs it for the step that it is in. When the training's process exits, it ends its loader processes by
    SIGTERM; then `exiting` is set.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if exiting.is_set() else None)


class TrainingLoader:
    """Batches of a training set, one shuffled pass per epoch; the last incomplete batch is dropped.

    A set smaller than one batch gives one batch of all its images. Of several processes each gets its part of every
    batch (see `ssc.runtime.distributed.rank`). Workers start once.

    Args:
        rows: images of the training set.
        sample: function of a row and a random generator that returns a tuple of tensors.
        batch_size: images per batch, of all processes together.
        seed: with the epoch it fixes order and augmentation.
        workers: loader processes, no more than processors are taken; 0 loads in the training process, between its
            steps, with as many threads as torch has there. Results do not depend on it.
    """

    def __init__(self, rows: Sequence[Row], sample: Sample, *, batch_size: int, seed: int, workers: int = 0):
        self.batch_size = min(batch_size, len(rows))
        self.rows, self._seed = rows, seed
        self._batches: list[list[tuple[int, int]]] = []
        workers = min(workers, os.cpu_count() or 1)
        exiting = multiprocessing.Event()
        atexit.register(exiting.set)
        self._loader = DataLoader(
            _Samples(rows, sample, seed, threads=1 if workers else torch.get_num_threads()),
            batch_sampler=self._batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Else each start of the workers draws from torch's global generator, and dropout would depend on it.
            generator=torch.Generator(),
            worker_init_fn=partial(_leave_signals_to_the_training, exiting),
        )

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.rows) // self.batch_size

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[list[torch.Tensor]]:
        """Batches of epoch `number`, counted from 0, without the first `skip`; they have a length."""
        order = np.random.default_rng((self._seed, number)).permutation(len(self.rows))
        size = self.batch_size
        self._batches[:] = [
            [(number, int(position)) for position in order[k * size : (k + 1) * size][rank() :: processes()]]
            for k in range(skip, len(self))
        ]
        return iter(self._loader)
