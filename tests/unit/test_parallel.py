import threading
import time

import pytest

from ssc.parallel import parallel_map


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
