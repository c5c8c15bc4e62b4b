"""Trainings in two processes against the same in one, and what stops them."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import ssc.training.launch
from ssc.data.index import Index, Row, read_index, write_index
from ssc.runtime.errors import InputError, Interrupted
from ssc.training.irn import train_irn
from ssc.training.launch import launch, run_processes
from ssc.training.loader import TrainingLoader
from ssc.training.run import Run
from tests.unit.training import distributed_runs
from tests.unit.training.trainings import (
    Killed,
    Result,
    at_step,
    make_data,
    options,
    train,
    training,
    with_changes,
)

CHANGES = {
    # Small rates: the absolute differences of the perceptual loss make rounding errors grow with the steps.
    "classifier": {"batch_size": 4, "lr": 0.002, "head_lr": 0.002},
    "irn": {"batch_size": 4},
    "segmentation": {"batch_size": 4, "freeze_norm": True},
    "cotraining": {"batch_size": 4, "freeze_norm": True},
}
# By name of the weights, the kind of training and what else it reads: plain segmentation on all pixels, too.
JOBS = {**{kind: (kind, {}) for kind in CHANGES}, "everywhere": ("segmentation", {"confidence": []})}


@pytest.fixture(autouse=True)
def processes_of_the_test(monkeypatch):
    """They find the modules of this folder; the launcher's signal handlers go when it is done."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    handlers = {kind: signal.getsignal(kind) for kind in kinds}
    yield
    for kind, handler in handlers.items():
        signal.signal(kind, handler)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight photos with none, one or two classes, so that the processes count differently many."""
    made = make_data(tmp_path_factory.mktemp("data"), count=8, noise=60)
    table = read_index(made.index)
    rows = table.split("train")
    labels = [(), (1, 2), (1, 2), (2,), (1,), (1, 2), (1,), (2,)]
    rows = [Row(row.id, row.split, row.image, row.mask, own) for row, own in zip(rows, labels, strict=True)]
    write_index(made.index, Index(["red", "green"], [*rows, *table.split("val")]))
    return made


def assert_same(output, expected):
    """Weights and losses of two trainings agree up to rounding."""
    weights, others = load_file(output), load_file(expected)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    losses, others = (Result(b"", path.with_suffix(".tsv").read_text()).losses() for path in (output, expected))
    assert len(losses) == len(others) > 1
    for own, other in zip(losses, others, strict=True):
        assert own == pytest.approx(other, rel=1e-4)


def in_two(train, output, log_path, arguments, **more):
    """Run a training in two processes."""
    given = {**arguments, "settings": arguments["settings"].model_dump(mode="json"), **more}
    run_processes(train, processes=2, log_path=log_path, options=options(output), arguments=given)


def test_two_processes_train_as_one(data, tmp_path, monkeypatch):
    """IRN goes on from what one process left; the classifier finds a damaged checkpoint."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    for name, (kind, own) in JOBS.items():
        train(kind, with_changes(data, **own), one / f"{name}.safetensors", **CHANGES[kind])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        at_step(patch, 3)
        train("irn", data, two / "irn.safetensors", **CHANGES["irn"])
    (two / "classifier.safetensors.checkpoint").write_bytes(b"not a checkpoint")

    jobs = [{"name": name, "kind": kind, "data": own, "changes": CHANGES[kind]} for name, (kind, own) in JOBS.items()]
    run_processes(
        distributed_runs.train_all,
        processes=2,
        log_path=tmp_path / "log",
        options=options(two / "unused.safetensors"),
        arguments={"folder": two, "jobs": jobs, "data": vars(data), "settings": {}},
    )
    for name in JOBS:
        assert_same(two / f"{name}.safetensors", one / f"{name}.safetensors")
    text = (tmp_path / "log").read_text()
    assert text.count("Resumed after step ") == text.count("set aside as") == 1
    assert text.count("8 photos, 3 epochs of 2 steps on cpu") == len(JOBS)
    seen = {path.name for path in two.iterdir() if not path.name.startswith(".")}
    assert seen == {f"{name}.{end}" for name in JOBS for end in ("tsv", "safetensors")} | {
        "classifier.safetensors.unused"
    }


def test_a_killed_process_and_a_signal_to_the_launcher_end_all_and_the_training_is_resumed(data, tmp_path, capfd):
    whole, stopped, alone = (tmp_path / name / "irn.safetensors" for name in ("whole", "stopped", "alone"))
    for path in (whole, alone):
        path.parent.mkdir()
    train("irn", data, whole, **CHANGES["irn"])
    _, arguments = training("irn", data, **CHANGES["irn"])
    with pytest.raises(RuntimeError, match="A training process failed"):
        in_two(distributed_runs.train_irn_until_a_process_dies, stopped, tmp_path / "log", arguments, last=3)
    left = ["irn.safetensors.checkpoint", "irn.tsv.checkpoint"]
    assert sorted(path.name for path in stopped.parent.iterdir()) == left
    shutil.copy(f"{stopped}.checkpoint", f"{alone}.checkpoint")

    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    with pytest.raises(
        Interrupted, match=r"^Ended by SIGTERM after step [345], .*checkpoint holds; run again to go on"
    ):
        in_two(distributed_runs.train_irn_until_a_signal, stopped, tmp_path / "log", arguments, last=2)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == handlers
    assert not stopped.exists() and "Traceback" not in capfd.readouterr().err

    in_two(train_irn, stopped, tmp_path / "log", arguments)
    train("irn", data, alone, **CHANGES["irn"])  # what two processes have left, one goes on with
    assert_same(stopped, whole)
    assert_same(alone, whole)
    text = (tmp_path / "log").read_text()
    assert text.count("8 photos") == 3 and text.count("Resumed after step ") == 2


def rule(output, log_path="log", *, gpu=1, **config):
    """What `launch` reads of the object `snakemake` of a script."""
    return SimpleNamespace(
        output=SimpleNamespace(weights=output, losses=output.with_suffix(".tsv")),
        params=SimpleNamespace(precision="fp32", threads=1),
        config={"device": "cpu", "workers": 0, "compile": False, "memory": "fast", "log": "table", **config},
        log=[str(log_path)],
        resources=SimpleNamespace(gpu=gpu),
    )


def test_bad_input_in_one_process_is_told_in_its_sentence(data, tmp_path, capfd):
    rows = read_index(data.index).split("train")
    (tmp_path / "torn.png").write_bytes(Path(rows[5].image).read_bytes()[:100])
    rows[5] = Row(rows[5].id, "train", str(tmp_path / "torn.png"), "", rows[5].labels)
    write_index(tmp_path / "index.tsv", Index(["red", "green"], rows))
    torn = with_changes(data, index=tmp_path / "index.tsv")
    function, arguments = training("irn", torn, **CHANGES["irn"])
    with pytest.raises(InputError, match=r"^[^\n]*torn\.png[^\n]*$"):
        launch(function, rule(tmp_path / "irn.safetensors", tmp_path / "log", gpu=2), seed=0, **arguments)
    assert not (tmp_path / "irn.safetensors").exists()
    written = capfd.readouterr()
    assert "Traceback" not in written.err + written.out


# What is refused before anything starts


@pytest.fixture
def nothing_starts(monkeypatch):
    def fail(*arguments):
        raise AssertionError("processes were started")

    monkeypatch.setattr(ssc.training.launch, "elastic_launch", fail)


@pytest.mark.parametrize(
    ("kind", "batch_size", "count", "sentence"),
    [
        ("irn", 3, 2, "A batch of 3 photos cannot be divided among 2 processes"),
        ("segmentation", 4, 3, "A batch of 4 photos cannot be divided among 3 processes"),
        ("cotraining", 6, 2, "A batch of 6 photos cannot be divided in pairs among 2 processes"),
        ("classifier", 9, 3, "A batch of 8 photos cannot be divided among 3 processes"),  # of all there are
    ],
)
def test_batches_that_cannot_be_divided(data, tmp_path, nothing_starts, kind, batch_size, count, sentence):
    function, arguments = training(kind, data, batch_size=batch_size)
    with pytest.raises(InputError, match=f"{sentence}; change batch_size or the rule's resource gpu"):
        launch(function, rule(tmp_path / "x.safetensors", gpu=count), seed=0, **arguments)


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda", "2 GPUs are asked for, but PyTorch finds {found}; lower the rule's resource gpu, or set device: cpu"),
        ("auto", "2 GPUs are asked for, but PyTorch finds {found}; lower the rule's resource gpu, or set device: cpu"),
        ("cuda:1", "device: cuda:1 is one GPU, but 2 are asked for; set it to cuda or auto"),
    ],
)
@pytest.mark.parametrize("found", [0, 1])
def test_gpus_that_are_not_there(data, tmp_path, monkeypatch, nothing_starts, device, sentence, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    function, arguments = training("irn", data)
    with pytest.raises(InputError, match=sentence.format(found=found)):
        launch(function, rule(tmp_path / "x.safetensors", gpu=2, device=device), seed=0, **arguments)


# One process, and several that are played


@pytest.mark.parametrize("gpu", [0, 1])
def test_one_process_runs_in_this_one(tmp_path, gpu):
    def note(run: Run, **arguments):
        seen.append((os.getpid(), vars(run), arguments))

    seen = []
    given = rule(tmp_path / "x.safetensors", gpu=gpu, workers=3, memory="lean", compile=True)
    launch(note, given, seed=7, settings="typed", index="index.tsv")
    ((process, run, arguments),) = seen
    assert process == os.getpid() and arguments == {"settings": "typed", "index": "index.tsv"}
    wanted = {
        "output": tmp_path / "x.safetensors", "losses": tmp_path / "x.tsv", "seed": 7, "precision": "fp32",
        "threads": 1, "workers": 3, "memory": "lean", "compile": True, "device": torch.device("cpu"),
    }  # fmt: skip
    assert {key: run[key] for key in wanted} == wanted


def test_threads_and_loader_workers_are_divided(data, tmp_path, monkeypatch):
    def start(config, program):
        assert (config.nproc_per_node, program) == (4, sys.executable)
        return lambda *arguments: jobs.append(json.loads(Path(arguments[-1]).read_text()))

    jobs = []
    monkeypatch.setattr(ssc.training.launch, "elastic_launch", start)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    function, arguments = training("irn", data, batch_size=4)
    for workers in (6, 0):
        launch(function, rule(tmp_path / "x.safetensors", gpu=4, workers=workers), seed=3, **arguments)
    assert [(job["threads"], job["options"]["workers"], job["backend"]) for job in jobs] == [
        (2, 2, "gloo"),
        (2, 0, "gloo"),
    ]
    assert jobs[0]["options"]["seed"] == 3 and jobs[0]["options"]["output"] == str(tmp_path / "x.safetensors")
    assert type(arguments["settings"])(**jobs[0]["arguments"]["settings"]) == arguments["settings"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_every_batch(monkeypatch, count):
    rows = [Row(str(number), "train", "", "", ()) for number in range(14)]

    def read(number):
        monkeypatch.setattr("ssc.training.loader.rank", lambda: number)
        monkeypatch.setattr("ssc.training.loader.processes", lambda: count)
        loader = TrainingLoader(rows, lambda row, rng: (torch.tensor([int(row.id), rng.integers(99)]),), **given)
        assert len(loader) == 2
        return [batch[0] for batch in loader.epoch(3)]

    given = {"batch_size": 6, "seed": 4}
    shares = [read(number) for number in range(count)]
    monkeypatch.undo()
    whole = TrainingLoader(rows, lambda row, rng: (torch.tensor([int(row.id), rng.integers(99)]),), **given).epoch(3)
    for step, (batch,) in enumerate(whole):
        for number in range(count):
            assert torch.equal(shares[number][step], batch[number::count])


def test_a_process_ends_after_its_launcher(monkeypatch):
    parents = [7, 7, 1]
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(ssc.training.launch.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as ended:
        ssc.training.launch._end_with(7)
    assert ended.value.code == 1 and not parents
