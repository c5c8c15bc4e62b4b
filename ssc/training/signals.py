"""Signals that ask a training to end before they kill it: it saves its state first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# Schedulers send the first two before they take a machine away; Ctrl-C is the third.
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

_received: list[str] = []


@contextmanager
def heed_signals() -> Iterator[None]:
    """For the block, note SIGTERM, SIGUSR1 and the first SIGINT instead of ending at once; `received` tells of them.

    SIGINT stays ignored where it is: the background jobs of a script leave Ctrl-C to the program in front. SIGUSR1 does
    not: the processes around a training ignore it to outlive it, and it inherits that. To be used in the main thread of
    a process.
    """

    def note(number: int, frame: object) -> None:
        _received.append(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    in_front = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    before = {each: signal.signal(each, note) for each in _SIGNALS if each != signal.SIGINT or in_front}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        _received.clear()


def received() -> str | None:
    """Name of the first signal that asked this process to end."""
    return _received[0] if _received else None
