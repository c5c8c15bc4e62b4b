"""Trainings in two processes against the same in one, and what stops them."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import distributed_runs
import pytest
import torch
from safetensors.torch import load_file
from test_training import Killed, make_data, stop_at, train, training

import ssc.runtime.distributed
import ssc.training.launch
from ssc.data.index import Index, Row, read_index, write_index
from ssc.runtime.errors import InputError, Interrupted
from ssc.training.irn import train_irn
from ssc.training.launch import launch
from ssc.training.loader import TrainingLoader

CHANGES = {
    # Small rates: the absolute differences of the perceptual loss make rounding errors grow with the steps.
    "classifier": {"batch_size": 4, "lr": 0.002, "head_lr": 0.002},
    "irn": {"batch_size": 4},
    "segmentation": {"batch_size": 4, "freeze_norm": True},
    "cotraining": {"batch_size": 4, "freeze_norm": True},
}


@pytest.fixture(autouse=True)
def processes_of_the_test(monkeypatch):
    """They find the modules of this folder; the launcher's signal handlers go when it is done."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    handlers = {kind: signal.getsignal(kind) for kind in kinds}
    yield
    for kind, handler in handlers.items():
        signal.signal(kind, handler)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight photos with none, one or two classes, so that the processes count differently many."""
    made = make_data(tmp_path_factory.mktemp("data"), count=8, noise=60)
    rows = read_index(made.index).split("train")
    labels = [(), (1, 2), (1, 2), (2,), (1,), (1, 2), (1,), (2,)]
    rows = [Row(row.id, row.split, row.image, row.mask, own) for row, own in zip(rows, labels, strict=True)]
    write_index(made.index, Index(["red", "green"], rows))
    return made


def assert_same(output, expected):
    """Weights and losses of two trainings agree up to rounding."""
    weights, others = load_file(output), load_file(expected)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    points, others = (json.loads(path.with_suffix(".json").read_text())["points"] for path in (output, expected))
    assert len(points) == len(others) > 1
    for point, other in zip(points, others, strict=True):
        assert point == pytest.approx(other, rel=1e-4)


def runs_of(folder, data):
    """Trainings of each kind, and plain segmentation on all pixels too."""
    everywhere = SimpleNamespace(**{**vars(data), "confidence": []})
    runs = {kind: training(kind, data, folder / f"{kind}.safetensors", **CHANGES[kind]) for kind in CHANGES}
    path = folder / "everywhere.safetensors"
    return {**runs, "everywhere": training("segmentation", everywhere, path, **CHANGES["segmentation"])}


def test_two_processes_train_as_one(data, tmp_path, monkeypatch):
    """IRN goes on from what one process left; the classifier finds a damaged checkpoint."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    for function, arguments in runs_of(one, data).values():
        function(**arguments)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_at(patch, "irn", 3)
        train("irn", data, two / "irn.safetensors", **CHANGES["irn"])
    (two / "classifier.safetensors.checkpoint").write_bytes(b"not a checkpoint")

    runs = runs_of(two, data)
    launch(
        distributed_runs.train_all,
        processes=2,
        log_path=tmp_path / "log",
        index=data.index,
        settings={"batch_size": 4},
        device="cpu",
        workers=0,
        runs=[
            {"module": function.__name__.removeprefix("train_"), "arguments": arguments}
            for function, arguments in runs.values()
        ],
    )
    for kind in runs:
        assert_same(two / f"{kind}.safetensors", one / f"{kind}.safetensors")
    text = (tmp_path / "log").read_text()
    assert text.count("Resumed after step ") == text.count("set aside as") == 1
    assert text.count("Segmentation: 8 images, 3 epochs of 2 steps") == 3
    left = {f"{kind}.{end}" for kind in runs for end in ("json", "safetensors")}
    seen = {path.name for path in two.iterdir() if not path.name.startswith(".")}
    assert seen == {*left, "classifier.safetensors.unused"}


def test_a_killed_process_ends_all_and_the_training_is_resumed(data, tmp_path, capfd):
    folders = [tmp_path / name for name in ("whole", "killed", "alone")]
    for folder in folders:
        folder.mkdir()
    whole, killed, alone = (folder / "irn.safetensors" for folder in folders)
    train("irn", data, whole, **CHANGES["irn"])
    _, arguments = training("irn", data, killed, **CHANGES["irn"])
    options = {"processes": 2, "log_path": tmp_path / "log", **arguments}
    with pytest.raises(RuntimeError, match="A training process failed"):
        launch(distributed_runs.train_irn_until_a_process_dies, last=3, **options)
    assert [path.name for path in killed.parent.iterdir()] == ["irn.safetensors.checkpoint"]
    assert "Traceback" not in capfd.readouterr().err
    shutil.copy(f"{killed}.checkpoint", f"{alone}.checkpoint")

    launch(train_irn, **options)
    train("irn", data, alone, **CHANGES["irn"])
    assert_same(killed, whole)
    assert_same(alone, whole)
    text = (tmp_path / "log").read_text()
    assert text.count("IRN: 8 images") == 2 and text.count("Resumed after step ") == 1


def test_a_signal_to_the_launcher_saves_the_state_of_all(data, tmp_path, capfd):
    (tmp_path / "whole").mkdir()
    whole, stopped = tmp_path / "whole" / "irn.safetensors", tmp_path / "irn.safetensors"
    train("irn", data, whole, **CHANGES["irn"])
    _, arguments = training("irn", data, stopped, **CHANGES["irn"])
    options = {"processes": 2, "log_path": tmp_path / "log", **arguments}
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    with pytest.raises(Interrupted, match=r"^Ended by SIGTERM after step .*checkpoint holds; run again to go on"):
        launch(distributed_runs.train_irn_until_a_signal, last=2, **options)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == handlers
    assert not stopped.exists() and "Traceback" not in capfd.readouterr().err
    launch(train_irn, **options)
    assert_same(stopped, whole)
    assert (tmp_path / "log").read_text().count("Resumed after step ") == 1


def test_bad_input_in_one_process_is_told_in_its_sentence(data, tmp_path, capfd):
    rows = read_index(data.index).split("train")
    (tmp_path / "torn.png").write_bytes(Path(rows[5].image).read_bytes()[:100])
    rows[5] = Row(rows[5].id, "train", str(tmp_path / "torn.png"), "", rows[5].labels)
    write_index(tmp_path / "index.tsv", Index(["red", "green"], rows))
    torn = SimpleNamespace(**{**vars(data), "index": tmp_path / "index.tsv"})
    function, arguments = training("irn", torn, tmp_path / "irn.safetensors", **CHANGES["irn"])
    with pytest.raises(InputError, match=r"^[^\n]*torn\.png[^\n]*$"):
        launch(function, processes=2, log_path=tmp_path / "log", **arguments)
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
    function, arguments = training(kind, data, tmp_path / "x.safetensors", batch_size=batch_size)
    with pytest.raises(InputError, match=f"{sentence}; change batch_size or the rule's resource gpu"):
        launch(function, processes=count, log_path=tmp_path / "log", **arguments)


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
    function, arguments = training("irn", data, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=sentence.format(found=found)):
        launch(function, processes=2, log_path=tmp_path / "log", **{**arguments, "device": device})


# One process, and several that are played


def test_one_process_runs_in_this_one():
    def note(**arguments):
        seen.append((os.getpid(), arguments))

    seen = []
    launch(note, processes=1, log_path="log", workers=3)
    assert seen == [(os.getpid(), {"workers": 3})]


def test_threads_and_loader_workers_are_divided(data, tmp_path, monkeypatch):
    def start(config, program):
        assert (config.nproc_per_node, program) == (4, sys.executable)
        return lambda *arguments: jobs.append(json.loads(Path(arguments[-1]).read_text()))

    jobs = []
    monkeypatch.setattr(ssc.training.launch, "elastic_launch", start)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    function, arguments = training("irn", data, tmp_path / "x.safetensors", batch_size=4, workers=6)
    for workers in (6, 0):
        arguments["workers"] = workers
        launch(function, processes=4, log_path=tmp_path / "log", **arguments)
    assert [(job["threads"], job["arguments"]["workers"], job["backend"]) for job in jobs] == [
        (2, 2, "gloo"),
        (2, 0, "gloo"),
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_every_batch(monkeypatch, count):
    rows = [Row(str(number), "train", "", "", ()) for number in range(14)]

    def read(number):
        monkeypatch.setattr("ssc.training.loader.rank", lambda: number)
        monkeypatch.setattr("ssc.training.loader.processes", lambda: count)
        loader = TrainingLoader(rows, lambda row, rng: (torch.tensor([int(row.id), rng.integers(99)]),), **options)
        assert len(loader) == 2
        return [batch[0] for batch in loader.epoch(3)]

    options = {"batch_size": 6, "seed": 4}
    shares = [read(number) for number in range(count)]
    monkeypatch.undo()
    whole = TrainingLoader(rows, lambda row, rng: (torch.tensor([int(row.id), rng.integers(99)]),), **options).epoch(3)
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
