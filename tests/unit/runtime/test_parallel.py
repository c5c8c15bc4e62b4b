import threading
import time

import pytest

from ssc.runtime.parallel import batch_map, parallel_map


@pytest.mark.parametrize("threads", [1, 3])
def test_results_keep_the_order_of_the_items(threads):
    def slow_for_even(item):
        time.sleep(0.002 * (item % 2 == 0))
        return item * item

    assert list(parallel_map(slow_for_even, range(20), threads)) == [k * k for k in range(20)]


def test_few_items_are_taken_ahead():
    taken = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    for done, _ in enumerate(parallel_map(lambda item: item, items(), 2), start=1):
        assert len(taken) <= done + 4


def test_threads_work_at_the_same_time():
    both = threading.Barrier(2, timeout=10)
    assert len(list(parallel_map(lambda item: both.wait(), range(2), 2))) == 2


def test_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(parallel_map(lambda item: 1 / item, [1, 0, 2], 2))


def test_after_an_error_nothing_more_begins():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.02)
        return 1 / item

    with pytest.raises(ZeroDivisionError):
        list(parallel_map(work, [0, 1, 2, 3, 4, 5], 1))
    time.sleep(0.1)
    assert len(begun) <= 2


# Batches: words, alike where they have the same length.


@pytest.mark.parametrize("ahead", [1, 2, 5, 100])
@pytest.mark.parametrize("room", [1, 2, 100])
def test_batches_hold_items_alike_and_results_keep_their_order(ahead, room):
    words = ["a", "bb", "c", "dd", "e", "fff", "g", "hh", "i", "j"]
    taken, done, batches = [], [], []

    def items():
        for word in words:
            taken.append(word)
            yield word

    def function(batch):
        assert len(taken) - len(done) <= ahead
        batches.append(batch)
        return [word.upper() for word in batch]

    for result in batch_map(function, items(), key=len, room=lambda word: room, ahead=ahead):
        done.append(result)
        assert len(taken) - len(done) <= ahead
    assert done == [word.upper() for word in words]
    assert sorted(word for batch in batches for word in batch) == words
    assert all(len(batch) <= min(room, ahead) and len({len(word) for word in batch}) == 1 for batch in batches)
    if room == 100 and ahead == 100:
        assert batches == [["a", "c", "e", "g", "i", "j"], ["bb", "dd", "hh"], ["fff"]]
    if ahead == 1:
        assert batches == [[word] for word in words]


def test_room_is_that_of_the_first_item_of_a_batch():
    batches = []

    def function(batch):
        batches.append(batch)
        return batch

    items = ["a", "bb", "b", "cc", "c", "dd"]
    list(batch_map(function, items, key=len, room=lambda word: 3 - len(word), ahead=10))
    assert batches == [["a", "b"], ["bb"], ["cc"], ["c"], ["dd"]]


def test_errors_of_items_and_of_batches_reach_the_caller():
    def items():
        yield 1
        raise KeyError("item")

    options = {"key": lambda item: 0, "room": lambda item: 2}
    with pytest.raises(KeyError, match="item"):
        list(batch_map(list, items(), ahead=2, **options))
    with pytest.raises(ZeroDivisionError):
        list(batch_map(lambda batch: [1 / item for item in batch], [1, 0], ahead=2, **options))
    assert list(batch_map(list, [], ahead=2, **options)) == []
