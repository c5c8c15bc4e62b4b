"""Signals that ask to end."""

import os
import signal

import pytest

from ssc.training.signals import heed_signals, received


@pytest.fixture(autouse=True)
def _in_front():
    """SIGINT as in a terminal, also where the tests run in the background of a script, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_is_noted_and_ends_nothing(name):
    before = signal.getsignal(signal.Signals[name])
    with heed_signals():
        assert received() is None
        os.kill(os.getpid(), signal.Signals[name])
        assert received() == name
        os.kill(os.getpid(), signal.SIGTERM)
        assert received() == name
    assert received() is None
    assert signal.getsignal(signal.Signals[name]) is before


def test_ctrl_c_again_ends_at_once():
    with heed_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_outside_of_the_block_signals_are_as_before():
    with heed_signals():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("number", "heard"), [(signal.SIGINT, None), (signal.SIGUSR1, "SIGUSR1")])
def test_of_signals_that_were_ignored_only_sigint_stays_so(number, heard):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with heed_signals():
            signal.raise_signal(number)
            assert received() == heard
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
