"""What the trainings share, on each of them: the same bytes again, restored results, resumed and interrupted runs."""

import logging
import os
import re
import signal
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import ssc.training.run
from ssc import archive
from ssc.archive import Archive
from ssc.data.index import Index, read_index, write_index
from ssc.models import backbone
from ssc.runtime.errors import InputError, Interrupted
from ssc.training import run as running
from ssc.training.irn import train_irn
from ssc.training.run import Run, set_poly_lr
from ssc.training.signals import heed_signals
from ssc.workflow import cache, provenance
from tests.unit.training.trainings import KINDS, Killed, at_step, die, options, train, training, with_changes


def seen(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


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


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_bytes_and_workers_change_nothing(data, trained, tmp_path, kind):
    assert train(kind, data, tmp_path / "again.safetensors", workers=2) == getattr(trained, kind)
    other = train(kind, data, tmp_path / "other.safetensors", seed=1, epochs=1)
    assert other.losses()[0] != getattr(trained, kind).losses()[0]


@pytest.mark.parametrize(("kind", "floor"), [("classifier", 0), ("irn", 0), ("segmentation", 1e-5)])
def test_the_table_shows_the_schedule(trained, kind, floor):
    lines = [line.split("\t") for line in getattr(trained, kind).table.splitlines()]
    assert lines[0][:2] == ["step", "lr"] and [int(line[0]) for line in lines[1:]] == list(range(1, 10))
    initial = float(lines[1][1])
    expected = [max(floor, initial * (1 - step / 9) ** 0.9) for step in range(9)]
    assert [float(line[1]) for line in lines[1:]] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_ends_as_an_undisturbed_one(data, trained, tmp_path, monkeypatch, kind):
    """Killed at once, it loses the steps since the last epoch; asked by a signal, none. Nine steps in three epochs."""
    output = tmp_path / f"{kind}.safetensors"
    at_step(monkeypatch, 5)
    with pytest.raises(Killed):
        train(kind, data, output)
    table = output.with_suffix(".tsv")
    assert not output.exists() and Path(f"{output}.checkpoint").exists()
    assert not table.exists() and Path(f"{table}.checkpoint").exists()
    steps = at_step(monkeypatch, 6, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    torch.manual_seed(99)
    with heed_signals(), pytest.raises(Interrupted, match=r"^Ended by SIGUSR1 after step 7, which .*"):
        train(kind, data, output)
    assert steps == [3, 4, 5, 6]
    steps = at_step(monkeypatch)
    torch.manual_seed(99)
    assert train(kind, data, output) == getattr(trained, kind)
    assert steps == [7, 8]
    assert seen(tmp_path) == [f"{kind}.safetensors", f"{kind}.tsv"]


def test_a_signal_to_all_processes_of_a_training_loses_no_step(data, trained, tmp_path):
    """Schedulers send it to the loader's processes too."""
    output = tmp_path / "irn.safetensors"
    _, arguments = training("irn", data)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)

        def set_rate(optimizer, step, total, **more):
            if step == 4:
                os.killpg(0, signal.SIGTERM)
                time.sleep(0.5)
            set_poly_lr(optimizer, step, total, **more)

        ssc.training.run.set_poly_lr = set_rate
        try:
            with heed_signals():
                train_irn(Run(**options(output, workers=2)), **arguments)
        except Interrupted as error:
            os._exit(7 if "after step 5" in str(error) else 1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert train("irn", data, output, workers=2) == trained.irn


def test_a_training_killed_after_its_last_epoch_only_writes(data, trained, tmp_path, monkeypatch):
    output = tmp_path / "irn.safetensors"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(running, "save_weights", die)
        train("irn", data, output)
    steps = at_step(monkeypatch)
    assert train("irn", data, output) == trained.irn
    assert steps == []


@pytest.mark.parametrize("kept_first", [True, False])
def test_a_training_killed_when_it_was_done_is_not_made_again(data, trained, tmp_path, monkeypatch, kept_first):
    output, keep = tmp_path / "irn.safetensors", cache.keep

    def keep_and_die(path, fingerprint):
        if kept_first:
            keep(path, fingerprint)
        if not kept_first or Path(path).suffix == ".tsv":
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(cache, "keep", keep_and_die)
        train("irn", data, output)
    output.unlink()  # as Snakemake does with what an unfinished job has written
    output.with_suffix(".tsv").unlink()
    output.with_suffix(".tsv.checkpoint").touch()  # as a training of other settings leaves it
    steps = at_step(monkeypatch)
    assert train("irn", data, output) == trained.irn
    assert steps == [] and not [*tmp_path.glob("*.checkpoint")]


# What is restored, and what is not


def test_a_training_of_the_same_inputs_is_restored(data, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "ssc")
    output = tmp_path / "irn.safetensors"
    result = train("irn", data, output)
    for path in (output, output.with_suffix(".tsv")):  # as Snakemake does before it runs a rule
        path.unlink()
    steps = at_step(monkeypatch)
    assert train("irn", data, output) == result
    assert steps == [] and "its result is restored from the cache" in caplog.text
    # Ground truth is no part of a training image; its labels are.
    rows = read_index(data.index).rows
    for change, trained_again in (({"mask": "x.png"}, False), ({"labels": (1, 2)}, True)):
        changed = [replace(row, **change) if row.id == rows[0].id else row for row in rows]
        write_index(tmp_path / "index.tsv", Index(read_index(data.index).classes, changed))
        train("irn", with_changes(data, index=tmp_path / "index.tsv"), output)
        assert bool(steps) == trained_again


def test_a_cached_result_that_is_damaged_is_made_again(data, tmp_path, monkeypatch):
    output = tmp_path / "irn.safetensors"
    result = train("irn", data, output)
    with output.open("r+b") as handle:  # the link in the cache is the same file
        handle.seek(-5, os.SEEK_END)
        handle.write(b"x")
    steps = at_step(monkeypatch)
    assert train("irn", data, output) == result
    assert steps == list(range(9))


def changed_labels(data, folder):
    paths = [folder / path.name for path in data.labels]
    for old, new in zip(data.labels, paths, strict=True):
        with archive.write(new) as writer:
            for image_id in Archive(old).ids():
                writer.add_labels(image_id, np.roll(Archive(old).labels(image_id), 5, axis=1))
    return with_changes(data, labels=paths)


@pytest.fixture(scope="module")
def broken_off(data, tmp_path_factory):
    """Checkpoint of an IRN training that was killed in its second epoch."""
    output = tmp_path_factory.mktemp("broken") / "irn.safetensors"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        at_step(patch, 4)
        train("irn", data, output)
    return Path(f"{output}.checkpoint").read_bytes()


@pytest.mark.parametrize("change", ["settings", "seed", "labels", "initial", "code", "truncated", "garbage", "flipped"])
def test_a_checkpoint_of_another_run_or_a_torn_one_is_set_aside(
    data, trained, broken_off, tmp_path, monkeypatch, change, caplog
):
    output, changes, content = tmp_path / "irn.safetensors", {}, broken_off
    match change:
        case "settings":
            changes = {"lr": 0.05}
        case "seed":
            changes = {"seed": 1}
        case "labels":
            data = changed_labels(data, tmp_path)
        case "initial":
            changes = {"initial": tmp_path / "tiny.safetensors"}
            save_file(backbone("tiny").state_dict(), tmp_path / "tiny.safetensors")
        case "code":
            monkeypatch.setattr(provenance, "source_digest", lambda module, *sections: f"another {module}")
        case "truncated":
            content = content[: len(content) // 2]
        case "flipped":  # a bit in the middle of a tensor
            middle = content.index(b"data/0") + 200
            content = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        case "garbage":
            content = b"not a checkpoint"
    checkpoint = Path(f"{output}.checkpoint")
    checkpoint.write_bytes(content)
    steps = at_step(monkeypatch)
    result = train("irn", data, output, **changes)
    assert steps == list(range(9))
    assert not checkpoint.exists() and (tmp_path / "irn.safetensors.unused").read_bytes() == content
    damaged = change in ("truncated", "garbage", "flipped")
    told = r"cannot be read \(\w+\)" if damaged else "belongs to other settings, data or code"
    assert re.search(rf"checkpoint {told}: set aside as .*unused, starting afresh", caplog.text)
    assert (result == trained.irn) == (damaged or change == "code")


# A training of its own: random numbers, an adaptive optimizer, several losses


class Loader:
    """Three batches of an epoch, without photos."""

    rows, batch_size = [None] * 6, 2

    def __len__(self):
        return 3

    def epoch(self, number, *, skip=0):
        return [[torch.full((2, 4), float(number + step))] for step in range(skip, 3)]


def noisy_training(output, *, epochs=4, fingerprint="a", last=None, values=lambda step, loss: {"a": loss}, **more):
    """A training with dropout and Adam; killed before step `last`. The steps that it did and the weights."""
    run = Run(**options(output, **more))
    run._fingerprint, run._facts = fingerprint, {}
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    done = []
    for _, step, (batch,) in run.steps(Loader(), epochs, [model], [optimizer]):
        if step == last:
            raise Killed
        done.append(step)
        run.update(values(step, model(batch).square().mean()))
    run.finish({"model": (model, {})})
    return done, output.read_bytes(), output.with_suffix(".tsv").read_text()


def test_a_checkpoint_restores_dropout_and_adam(tmp_path):
    whole = noisy_training(tmp_path / "whole.safetensors")
    for last in (8, 11):  # killed twice
        with pytest.raises(Killed):
            noisy_training(tmp_path / "parts.safetensors", last=last)
    done, *result = noisy_training(tmp_path / "parts.safetensors")
    assert done == [9, 10, 11] and tuple(result) == whole[1:]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training_at_its_step(tmp_path, value):
    def values(step, loss):
        return {"a": loss, "b": loss * (value if step == 4 else 1)}

    with pytest.raises(InputError, match=r"^The training diverged at step 5 \(.*'b': .*\); lower the learning rate\.$"):
        noisy_training(tmp_path / "x.safetensors", values=values)
    assert not (tmp_path / "x.safetensors").exists()


def test_total_alone_is_descended_where_there_is_one(tmp_path):
    only = noisy_training(tmp_path / "only.safetensors", values=lambda step, loss: {"a": loss})
    both = noisy_training(tmp_path / "both.safetensors", values=lambda step, loss: {"part": 5 * loss, "total": loss})
    summed = noisy_training(tmp_path / "sum.safetensors", values=lambda step, loss: {"a": loss / 4, "b": 3 * loss / 4})
    assert both[1] == only[1]
    losses = [[sum(map(float, line.split("\t")[2:])) for line in text.splitlines()[1:]] for *_, text in (only, summed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_dropout_differs_between_steps_seeds_and_processes(tmp_path, monkeypatch):
    drawn = []
    for seed, rank in product(range(2), range(3)):
        monkeypatch.setattr(running, "rank", lambda rank=rank: rank)
        for repeat in range(2):
            run = Run(**options(tmp_path / f"{repeat}.safetensors", seed=seed))
            run._fingerprint = f"{seed} {rank} {repeat}"
            model = nn.Linear(1, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _, _, _ in run.steps(Loader(), 1, [model], [optimizer]):
                drawn.append(torch.rand(()).item())
                run.update({"a": model(torch.ones(1)).sum()})
    assert len(drawn) == 2 * 3 * 2 * 3 and len(set(drawn)) == 2 * 3 * 3


def test_a_line_of_progress_holds_losses_and_rate(tmp_path, caplog):
    caplog.set_level(logging.INFO, "ssc")
    noisy_training(tmp_path / "x.safetensors", values=lambda step, loss: {"first": loss, "second": 0 * loss + step})
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch 2/4: ")]
    table = [line.split("\t") for line in (tmp_path / "x.tsv").read_text().splitlines()]
    assert len(lines) == 3
    for line, (_, rate, first, second) in zip(lines, table[4:7], strict=True):
        assert line.endswith(f" s, lr {rate}, first {first}, second {second}")
