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

    A signal that the process ignores stays ignored: the background jobs of a script ignore Ctrl-C, which is for the
    program in front. To be used in the main thread of a process.
    """

    def note(number: int, frame: object) -> None:
        _received.append(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {each: signal.signal(each, note) for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        _received.clear()


def received() -> str | None:
    """Name of the first signal that asked this process to end."""
    return _received[0] if _received else None
