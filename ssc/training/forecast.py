"""How long a training will take, and the run after it, told once its first steps have shown how fast it goes."""

import time
from collections.abc import Sequence

from ssc.runtime.progress import tell, told_time

_WARM = 5  # first steps, slower than those that follow
_STEPS = 20  # after which it is told
_SHORT = 60  # seconds that nobody asks about


class Forecast:
    """Counts the steps that this process has done of a training.

    Args:
        name: of the training.
        total: its steps, those before a resumption among them.
        rest: what follows it in its run: work as a multiple of its own, and seconds besides.
    """

    def __init__(self, name: str, *, total: int, rest: Sequence[float]):
        self._name, self._total, self._rest = name, total, rest
        self._count, self._start = 0, 0.0

    def step(self, done: int) -> None:
        """Note the end of a step, the `done`-th of the training."""
        self._count += 1
        if self._count == _WARM:
            self._start = time.perf_counter()
        elif self._count == _STEPS:
            pace = (time.perf_counter() - self._start) / (_STEPS - _WARM)
            multiple, seconds = self._rest
            left, rest = pace * (self._total - done), pace * self._total * multiple + seconds
            if left + rest > _SHORT:
                after = f", and about {told_time(rest)} for the rest of the run" if rest > 1 else ""
                tell(f"{self._name}: about {told_time(left)} for this training{after}.")
