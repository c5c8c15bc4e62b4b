"""The state of an unfinished training by itself; whole trainings go on from it in test_run.py."""

import os
import re
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from ssc.runtime.errors import Interrupted
from ssc.training import checkpoint as checkpoints
from ssc.training.checkpoint import Checkpoint, checkpoint_path
from ssc.training.signals import heed_signals


def made(path, *, seed=0, fingerprint="a"):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 + seed)
    model(torch.rand(5, 4)).square().sum().backward()
    optimizer.step()
    return Checkpoint(path, fingerprint=fingerprint, modules=[model], optimizers=[optimizer]), model, optimizer


def test_networks_optimizers_and_losses_come_back(tmp_path):
    first, model, optimizer = made(tmp_path / "x.safetensors")
    assert first.resume() == (0, "")
    first.save(7, "step\tlr\n")
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors.checkpoint"]
    second, other, its_optimizer = made(tmp_path / "x.safetensors", seed=1)
    assert second.resume() == (7, "step\tlr\n")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())
    saved, loaded = (each.state_dict() for each in (optimizer, its_optimizer))
    assert saved["param_groups"] == loaded["param_groups"]
    for number, state in saved["state"].items():
        assert all(torch.equal(value, loaded["state"][number][key]) for key, value in state.items())


def test_a_checkpoint_of_another_fingerprint_is_set_aside(tmp_path, caplog):
    made(tmp_path / "x.safetensors")[0].save(7, "")
    other, model, _ = made(tmp_path / "x.safetensors", seed=1, fingerprint="b")
    before = [value.clone() for value in model.state_dict().values()]
    assert other.resume() == (0, "")
    assert all(map(torch.equal, before, model.state_dict().values()))
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors.unused"]
    assert re.search("belongs to other settings, data or code: set aside as .*unused, starting afresh", caplog.text)


def test_the_state_is_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    checkpoint, *_ = made(tmp_path / "x.safetensors")
    checkpoint.save(7, "")
    before = checkpoint_path(tmp_path / "x.safetensors").read_bytes()

    def half(path, data):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(8, "")
    assert checkpoint_path(tmp_path / "x.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors.checkpoint"]


def test_a_process_that_is_not_the_main_one_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "is_main", lambda: False)
    made(tmp_path / "x.safetensors")[0].save(7, "")
    assert not list(tmp_path.iterdir())


def test_a_signal_ends_the_training_after_its_step(tmp_path):
    checkpoint, *_ = made(tmp_path / "x.safetensors")
    with heed_signals():
        checkpoint.end_if_asked(4, "")
        assert not list(tmp_path.iterdir())
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match=r"^Ended by SIGTERM after step 5, which .*\.checkpoint holds"):
            checkpoint.end_if_asked(5, "losses")
    assert made(tmp_path / "x.safetensors", seed=1)[0].resume() == (5, "losses")
