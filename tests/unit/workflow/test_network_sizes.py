"""The sizes of networks that are kept from one start to the next."""

import pytest

from ssc.workflow import training_size
from ssc.workflow.network_sizes import NetworkSize, network_sizes
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import TRAININGS


def settings(**changes):
    return Settings(**{"dataset": {"kind": "demo", "name": "tiny"}, **changes})


@pytest.fixture
def measured(monkeypatch):
    """Numbers of classes with which networks were measured."""
    found = []

    def measure(settings, num_classes):
        found.append(num_classes)
        return {stage: NetworkSize(4 * num_classes, 2, 3, 4.5, 5.0) for stage in TRAININGS}

    monkeypatch.setattr(training_size, "measure_networks", measure)
    return found


def test_the_same_networks_are_measured_once(tmp_path, monkeypatch, measured):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = dict.fromkeys(TRAININGS, NetworkSize(12, 2, 3, 4.5, 5.0))
    assert network_sizes(settings(), 3) == network_sizes(settings(seed=7), 3) == expected
    assert measured == [3]
    network_sizes(settings(), 4)
    network_sizes(settings(memory="lean"), 3)
    network_sizes(settings(irn={"crop": 32}), 3)
    assert measured == [3, 4, 3, 3]
    for damaged in ("{", "[]", "{}", '{"classifier": 3}', '{"classifier": {"weights": 3}}'):
        for file in tmp_path.glob("ssc/*.json"):
            file.write_text(damaged)
        assert network_sizes(settings(), 3) == expected
    assert measured[4:] == [3] * 5


def test_without_a_place_for_them_they_are_measured_each_time(tmp_path, monkeypatch, measured):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert network_sizes(settings(), 3) == network_sizes(settings(), 3) and measured == [3, 3]
