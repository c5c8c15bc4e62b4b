import os
import threading

import numpy as np
import pytest
import torch

from ssc.data.index import Row
from ssc.training.loader import TrainingLoader


def draw(row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A sample that tells which row it is of and what its generator says."""
    return torch.tensor(int(row.id)), torch.tensor(rng.integers(2**62))


def make(count: int, **options) -> TrainingLoader:
    rows = [Row(id=str(k), split="train", image="", mask="", labels=()) for k in range(count)]
    return TrainingLoader(rows, draw, **options)


def read(loader: TrainingLoader, epoch: int) -> list[list[tuple[int, int]]]:
    return [list(zip(ids.tolist(), draws.tolist(), strict=True)) for ids, draws in loader.epoch(epoch)]


def order(batches: list[list[tuple[int, int]]]) -> list[int]:
    return [number for batch in batches for number, _ in batch]


@pytest.mark.parametrize(("count", "batch_size"), [(12, 4), (13, 4), (15, 4), (7, 1)])
def test_an_epoch_holds_every_image_once_but_for_the_incomplete_batch(count, batch_size):
    loader = make(count, batch_size=batch_size, seed=3)
    dropped = set()
    for epoch in range(4):
        batches = read(loader, epoch)
        assert len(batches) == len(loader) == count // batch_size
        assert {len(batch) for batch in batches} == {batch_size}
        seen = order(batches)
        assert len(set(seen)) == len(seen) == count - count % batch_size
        dropped |= set(range(count)) - set(seen)
    # the shuffle drops other images each time
    assert (len(dropped) > count % batch_size) == (count % batch_size > 0)


def test_order_and_draws_depend_on_seed_and_epoch_alone():
    loader = make(20, batch_size=4, seed=1)
    first, second = read(loader, 0), read(loader, 1)
    assert order(first) != order(second) != list(range(20))
    assert {draws for batch in first for _, draws in batch}.isdisjoint(d for batch in second for _, d in batch)
    # any later epoch can be asked for first, as after a resumed training, and again
    assert read(make(20, batch_size=4, seed=1), 1) == second
    assert read(loader, 0) == first
    other = read(make(20, batch_size=4, seed=2), 0)
    assert order(other) != order(first)
    assert not {sample for batch in other for sample in batch} & {sample for batch in first for sample in batch}


def test_without_workers_a_batch_is_drawn_by_as_many_threads_as_torch_has(monkeypatch):
    meeting = threading.Barrier(2, timeout=10)

    def meet(row: Row, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        meeting.wait()
        return draw(row, rng)

    expected = read(make(12, batch_size=4, seed=0), 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    loader = make(12, batch_size=4, seed=0)
    monkeypatch.setattr(loader._loader.dataset, "sample", meet)
    assert read(loader, 1) == expected


def test_a_draw_does_not_depend_on_the_batch_size():
    small, large = (
        [sample for batch in read(make(12, batch_size=size, seed=0), 5) for sample in batch] for size in (3, 4)
    )
    assert small == large
    assert len({draws for _, draws in small}) == 12


def test_workers_change_nothing():
    alone, helped = make(11, batch_size=2, seed=7), make(11, batch_size=2, seed=7, workers=2)
    for epoch in (0, 1, 4):
        assert read(helped, epoch) == read(alone, epoch)


def process(row: Row, rng: np.random.Generator) -> tuple[torch.Tensor]:
    return (torch.tensor(os.getpid()),)


def test_workers_start_once():
    rows = [Row(id=str(k), split="train", image="", mask="", labels=()) for k in range(8)]
    loader = TrainingLoader(rows, process, batch_size=1, seed=0, workers=2)
    first, second = ({int(batch[0]) for batch in loader.epoch(epoch)} for epoch in range(2))
    assert first == second and len(first) == 2 and os.getpid() not in first


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_random_numbers_of_the_training_alone(workers):
    loader = make(4, batch_size=2, seed=0, workers=workers)
    before = torch.get_rng_state()
    read(loader, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_set_smaller_than_a_batch_is_one_batch():
    loader = make(3, batch_size=16, seed=0)
    assert len(loader) == 1
    (batch,) = read(loader, 0)
    assert sorted(number for number, _ in batch) == [0, 1, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_its_middle(workers):
    loader = make(20, batch_size=4, seed=1, workers=workers)
    whole = read(loader, 2)
    for skip in (0, 1, 4):
        rest = loader.epoch(2, skip=skip)
        assert len(rest) == 5 - skip
        assert [list(zip(ids.tolist(), draws.tolist(), strict=True)) for ids, draws in rest] == whole[skip:]
    assert read(loader, 2) == whole
