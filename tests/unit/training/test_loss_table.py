"""The losses step by step: a table whose header grows, and TensorBoard's event files if asked for."""

import sys
from types import ModuleType

import pytest

from ssc.runtime.errors import InputError
from ssc.training import loss_table
from ssc.training.checkpoint import checkpoint_path
from ssc.training.loss_table import LossTable


def filled(path, steps, earlier=""):
    """A table of losses that set in at different steps: `a` at once, `b` at the third, `c` at the fifth."""
    table = LossTable(path)
    table.begin(earlier)
    for step in steps:
        losses = {"a": step / 3, "b": 2.0 * step, "c": 1e-9 * step}
        table.add(step, 0.1 / step, {k: v for k, v in losses.items() if step >= {"a": 1, "b": 3, "c": 5}[k]})
    return table


def test_a_table_holds_a_line_of_each_step_and_its_header_grows(tmp_path):
    path = tmp_path / "new" / "x_losses.tsv"
    table = LossTable(path)
    table.begin()
    assert checkpoint_path(path).read_text() == table.text == "step\tlr\n"
    for step, rate, losses, text in (
        (1, 0.1, {"a": 2.0}, "step\tlr\ta\n1\t0.1\t2\n"),
        (2, 0.05, {"a": 1 / 3}, "step\tlr\ta\n1\t0.1\t2\n2\t0.05\t0.333333\n"),
        (3, 1e-7, {"b": 4.0, "a": 1.0}, "step\tlr\ta\tb\n1\t0.1\t2\t\n2\t0.05\t0.333333\t\n3\t1e-07\t1\t4\n"),
        (4, 0, {"b": 5e9}, "step\tlr\ta\tb\n1\t0.1\t2\t\n2\t0.05\t0.333333\t\n3\t1e-07\t1\t4\n4\t0\t\t5e+09\n"),
    ):
        table.add(step, rate, losses)
        assert checkpoint_path(path).read_text() == table.text == text and not path.exists()
    assert table.last() == "lr 0, b 5e+09"
    table.end()
    assert path.read_text() == text and not checkpoint_path(path).exists()


@pytest.mark.parametrize("step", range(9))
def test_a_table_that_is_resumed_ends_with_the_same_bytes(tmp_path, step):
    """After each of nine steps, before and after losses set in."""
    whole = filled(tmp_path / "whole.tsv", range(1, 10))
    earlier = filled(tmp_path / "parts.tsv", range(1, step + 1)).text if step else ""
    checkpoint_path(tmp_path / "parts.tsv").write_text("more steps than the checkpoint of the weights has")
    parts = filled(tmp_path / "parts.tsv", range(step + 1, 10), earlier)
    assert checkpoint_path(parts.path).read_text() == parts.text == whole.text
    parts.end()
    assert parts.path.read_text() == whole.text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_is_refused_with_its_step(tmp_path, value):
    table = filled(tmp_path / "x.tsv", [1])
    with pytest.raises(InputError, match=r"^The training diverged at step 2 \(.*'b': .*\); lower the learning rate\.$"):
        table.add(2, 0.1, {"a": 1.0, "b": value})
    # What led to it stays, though Snakemake deletes the outputs of a rule that fails.
    assert checkpoint_path(table.path).read_text() == table.text and len(table.text.splitlines()) == 2


def test_the_main_process_alone_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_table, "is_main", lambda: False)
    table = LossTable(tmp_path / "x.tsv")
    table.add(1, 0.1, {"a": 1.0})
    assert table.last() == "lr 0.1, a 1" and not any(tmp_path.iterdir())


# TensorBoard


def test_tensorboard_that_is_not_installed_is_one_clear_message(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    sentence = r"^log: tensorboard needs the package tensorboard; pip install 'ssc-wsss\[tensorboard\]'\.$"
    with pytest.raises(InputError, match=sentence):
        LossTable(tmp_path / "x.tsv", tensorboard=True)
    LossTable(tmp_path / "x.tsv").begin()  # without it nothing is imported


@pytest.mark.parametrize("resumed", [False, True])
def test_tensorboard_gets_the_scalars_of_each_step(tmp_path, monkeypatch, resumed):
    class Writer:
        def __init__(self, folder, *, purge_step):
            calls.append(("open", folder, purge_step))

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def close(self):
            calls.append(("close",))

    calls, module = [], ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    earlier = filled(tmp_path / "earlier.tsv", [1, 2]).text if resumed else ""
    table = LossTable(tmp_path / "irn_losses.tsv", tensorboard=True)
    table.begin(earlier)
    table.add(3, 0.5, {"a": 1.25})
    table.add(4, 0.25, {"a": 1 / 3, "b": 2.0})
    table.end()
    assert calls == [
        ("open", str(tmp_path / "tensorboard" / "irn_losses"), 2 if resumed else 0),
        ("lr", 0.5, 3), ("a", 1.25, 3),
        ("lr", 0.25, 4), ("a", 1 / 3, 4), ("b", 2.0, 4),
        ("close",),
    ]  # fmt: skip
    assert len((tmp_path / "irn_losses.tsv").read_text().splitlines()) == (5 if resumed else 3)


@pytest.mark.parametrize("last", [0, 1])
def test_two_trainings_of_one_result_leave_a_whole_table(tmp_path, last):
    """One has outlived its Snakemake, and goes on while the next call has begun."""
    path, expected = tmp_path / "x_losses.tsv", filled(tmp_path / "alone.tsv", range(1, 7)).text
    trainings = [filled(path, range(1, 4)), filled(path, range(1, 6))]
    for training, first in zip(trainings, (4, 6), strict=True):
        for step in range(first, 7):
            training.add(step, 0.1 / step, {"a": step / 3, "b": 2.0 * step} | ({"c": 1e-9 * step} if step > 4 else {}))
    trainings[1 - last].end()
    finished = path.stat().st_ino
    assert path.read_text() == expected
    trainings[last].end()
    assert path.read_text() == expected
    assert path.stat().st_ino != finished  # a link to the first, as the cache has, stays
