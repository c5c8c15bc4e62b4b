"""What is told of the time that a training takes, by a clock of the test's own."""

import pytest

from ssc.training import forecast
from ssc.training.forecast import Forecast
from tests.unit.training.trainings import train


@pytest.fixture
def told(monkeypatch):
    """Function that does steps of so many seconds each, and gives what is said."""

    def run(seconds, *, total, rest=(0.0, 0.0), first=0):
        now, said = [0.0], []
        monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])
        monkeypatch.setattr(forecast, "tell", said.append)
        counter = Forecast("classifier", total=total, rest=rest)
        for step in range(first, total):
            now[0] += seconds(step - first)
            counter.step(step + 1)
        return said

    return run


def test_it_is_told_once_after_twenty_steps_by_all_but_the_first(told):
    (said,) = told(lambda step: 100 if step < 5 else 2, total=770)
    assert said == "classifier: about 25 min for this training."  # 750 steps
    assert told(lambda step: 2, total=19) == []


def test_the_rest_of_the_run_is_counted_by_the_whole_training(told):
    """Also where this process has resumed one."""
    (said,) = told(lambda step: 2, total=1800, rest=(3.0, 1800.0), first=1480)
    assert said == "classifier: about 10 min for this training, and about 3.5 h for the rest of the run."


def test_what_is_soon_done_is_not_told(told):
    assert told(lambda step: 0.1, total=600) == []
    assert told(lambda step: 0.1, total=600, rest=(0.0, 50.0)) == [
        "classifier: about 58 s for this training, and about 50 s for the rest of the run."
    ]


def test_a_training_tells_it(tmp_path, monkeypatch, capsys, data):
    for name, value in {"_WARM": 1, "_STEPS": 3, "_SHORT": 0}.items():
        monkeypatch.setattr(forecast, name, value)
    train("irn", data, tmp_path / "irn.safetensors")
    assert capsys.readouterr().err.count("irn: about ") == 1
