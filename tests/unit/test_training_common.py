"""What the trainings share: schedule, loss history, checkpoints, device and precision."""

import json
import math
import os
import signal
from itertools import product

import numpy as np
import pytest
import torch
from ssc.training.common import Checkpoint, History, set_poly_lr
from torch import nn

from ssc.runtime.device import autocast, select_device
from ssc.runtime.errors import InputError, Interrupted
from ssc.runtime.files import read_json
from ssc.training import common
from ssc.training.signals import heed_signals


def test_poly_schedule():
    optimizer = torch.optim.SGD(
        [{"params": [torch.zeros(1)], "lr": 0.1}, {"params": [torch.zeros(1)], "lr": 1.0}], momentum=0.9
    )
    rates = []
    for step in range(8):
        set_poly_lr(optimizer, step, 8)
        rates.append([group["lr"] for group in optimizer.param_groups])
    np.testing.assert_allclose(rates, [[0.1 * (1 - k / 8) ** 0.9, (1 - k / 8) ** 0.9] for k in range(8)], rtol=1e-12)
    set_poly_lr(optimizer, 4, 8, power=2.0)
    assert optimizer.param_groups[1]["lr"] == 0.25
    set_poly_lr(optimizer, 7, 8, floor=0.05)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, pytest.approx((1 / 8) ** 0.9)]


def test_history_takes_means_over_equal_stretches(tmp_path):
    history = History(1000)
    for step in range(12):
        losses = {"a": torch.tensor(float(step))}
        if step >= 7:
            losses["b"] = torch.tensor(2.0 * step)
        history.add(step, losses)
    history.write(tmp_path / "losses.json")
    # Points of five steps, and the rest; a loss that begins within a stretch is averaged over the steps that have it.
    assert json.loads((tmp_path / "losses.json").read_text()) == {
        "points": [{"step": 5, "a": 2.0}, {"step": 10, "a": 7.0, "b": 16.0}, {"step": 12, "a": 10.5, "b": 21.0}]
    }


@pytest.mark.parametrize("total", [1, 7, 200, 399, 5000, 123_457])
def test_history_has_about_200_points_whatever_the_length(total):
    history, zero = History(total), torch.zeros(())
    for step in range(total):
        history.add(step, {"a": zero})
    assert min(total, 200) <= len(history.points) < 400
    assert history.points[0]["step"] == max(1, total // 200)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_history_stops_a_diverging_training(value):
    history = History(10)
    history.add(0, {"a": torch.tensor(1.0)})
    with pytest.raises(InputError, match=r"diverged at step 1 .*lower the learning rate"):
        history.add(1, {"a": torch.tensor(1.0), "b": torch.tensor(value)})


def noisy_training(path, epochs, *, identity, signal_after=None):
    """A training with random numbers of its own (dropout), an adaptive optimiser, and epochs of three steps."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    history = History(100)
    checkpoint = Checkpoint(path, identity=identity, modules=[model], optimizers=[optimizer], history=history)
    first = checkpoint.resume()
    for epoch in range(first // 3, epochs):
        for step in range(max(first, 3 * epoch), 3 * epoch + 3):
            common.seed_step(3, step)
            set_poly_lr(optimizer, step, 100)
            optimizer.zero_grad()
            loss = model(torch.ones(2, 4)).square().mean()
            loss.backward()
            optimizer.step()
            history.add(step, {"a": loss})
            if step + 1 == signal_after:
                os.kill(os.getpid(), signal.SIGTERM)
            checkpoint.end_if_asked(step + 1)
        checkpoint.save(step + 1)
    return first, history.points, model.state_dict()


def test_a_checkpoint_restores_dropout_and_adam(tmp_path):
    whole = noisy_training(tmp_path / "whole", 4, identity="a")
    noisy_training(tmp_path / "parts", 2, identity="a")
    parts = noisy_training(tmp_path / "parts", 4, identity="a")
    assert (whole[0], parts[0]) == (0, 6)
    assert parts[1] == whole[1] and all(torch.equal(value, parts[2][key]) for key, value in whole[2].items())
    assert noisy_training(tmp_path / "parts", 4, identity="b")[0] == 0


def test_a_signal_saves_the_state_within_an_epoch(tmp_path):
    whole = noisy_training(tmp_path / "whole", 4, identity="a")
    told = r"^Ended by SIGTERM after step 5, which .*parts\.checkpoint holds; run again to go on\.$"
    with heed_signals(), pytest.raises(Interrupted, match=told):
        noisy_training(tmp_path / "parts", 4, identity="a", signal_after=5)
    parts = noisy_training(tmp_path / "parts", 4, identity="a")
    assert parts[0] == 5
    assert parts[1] == whole[1] and all(torch.equal(value, parts[2][key]) for key, value in whole[2].items())


def test_dropout_differs_between_steps_seeds_and_processes(monkeypatch):
    drawn = set()
    for seed, step, rank in product(range(2), range(3), range(3)):
        monkeypatch.setattr(common, "rank", lambda rank=rank: rank)
        for _ in range(2):
            common.seed_step(seed, step)
            drawn.add(torch.rand(()).item())
    assert len(drawn) == 2 * 3 * 3


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device("auto") == select_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match="no CUDA device; set device: auto or cpu"):
            select_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (select_device("auto").type, select_device("cuda:1").index) == ("cuda", 1)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("auto", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_on_the_cpu(precision, dtype):
    with autocast(torch.device("cpu"), precision):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == dtype


def test_history_writes_the_last_shorter_stretch(tmp_path):
    history = History(400)  # stretches of two steps
    for step, value in enumerate([1.0, 3.0, 7.0]):
        history.add(step, {"loss": torch.tensor(value)})
    history.write(tmp_path / "losses.json")
    assert read_json(tmp_path / "losses.json")["points"] == [{"step": 2, "loss": 2.0}, {"step": 3, "loss": 7.0}]


def test_history_notices_a_divergence_in_the_last_shorter_stretch(tmp_path):
    history = History(400)
    for step, value in enumerate([1.0, 1.0, math.nan]):
        history.add(step, {"loss": torch.tensor(value)})
    with pytest.raises(InputError, match="diverged at step 2"):
        history.write(tmp_path / "losses.json")
    assert not (tmp_path / "losses.json").exists()
