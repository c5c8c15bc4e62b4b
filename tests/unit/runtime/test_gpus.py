"""Leases of GPUs, on machines that have none: `CUDA_VISIBLE_DEVICES` says which there would be."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

import pytest

from ssc.runtime.gpus import leased

HOLDER = """
import os, sys, time
from ssc.runtime.gpus import leased

with leased(int(sys.argv[1])):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine of four GPUs, of which nobody holds one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def seen() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.fixture
def hold():
    """Start a process that holds a lease, and say which GPUs it has."""
    with ExitStack() as started:

        def start(number: int) -> tuple[subprocess.Popen, str]:
            process = subprocess.Popen([sys.executable, "-c", HOLDER, str(number)], stdout=subprocess.PIPE, text=True)
            started.callback(process.wait)
            started.callback(process.stdout.close)
            started.callback(process.kill)
            return process, process.stdout.readline().strip()

        yield start


def test_jobs_side_by_side_have_gpus_of_their_own(hold):
    assert [hold(number)[1] for number in (1, 2, 1)] == ["0", "1,2", "3"]


def test_more_jobs_than_gpus_share_them_evenly(hold):
    assert [hold(2)[1] for _ in range(3)] == ["0,1", "2,3", "0,1"]
    assert hold(1)[1] == "2"


def test_a_killed_job_leaves_its_gpus_to_others(hold):
    (first, own), _ = hold(3), hold(1)
    assert own == "0,1,2"
    first.kill()
    first.wait()
    assert hold(2)[1] == "0,1"


def test_an_idle_gpu_is_taken_before_one_that_is_shared(hold):
    (first, _), (second, _) = hold(4), hold(3)
    assert hold(1)[1] == "3"
    third = hold(2)
    assert third[1] == "0,1"
    for process in (first, second):
        process.kill()
        process.wait()
    assert hold(1)[1] == "2"


def test_a_loader_that_outlives_the_block_keeps_no_gpu():
    with leased(1):
        loader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
        loader.start()
    try:
        with leased(1):
            assert seen() == "0"
    finally:
        loader.kill()


def test_where_nothing_can_be_locked_all_gpus_are_seen_and_it_is_told(tmp_path, caplog):
    (tmp_path / f"ssc-gpus-{os.getuid()}").touch()
    with leased(1):
        assert seen() == "0,1,2,3"
    assert "GPUs are not shared out" in caplog.text


def test_a_link_that_somebody_put_there_is_not_followed(tmp_path, caplog):
    """The temporary folder is everybody's: what the link points at must stay as it is."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "choice").write_text("a thesis")
    (tmp_path / f"ssc-gpus-{os.getuid()}").symlink_to(tmp_path / "theirs")
    with leased(1):
        assert seen() == "0,1,2,3"
    assert "not a folder of this user" in caplog.text
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["choice"]
    assert (tmp_path / "theirs" / "choice").read_text() == "a thesis"


def test_a_lease_ends_with_its_block():
    for _ in range(2):
        with leased(1):
            assert seen() == "0"
        assert seen() == "0,1,2,3"


def test_only_gpus_that_the_user_shows_are_taken(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5ebe9f43,MIG-GPU-1/2/0,-1,1")
    with leased(1), leased(2):
        assert seen() == "3"  # of the three, the outer block left one: what it sees is all there is
    with leased(9):
        assert seen() == "3,GPU-5ebe9f43,MIG-GPU-1/2/0"


@pytest.mark.parametrize("shown", ["", "-1"])
def test_without_gpus_there_is_nothing_to_take(monkeypatch, shown):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    with leased(1):
        assert seen() == shown


def test_a_gpu_that_is_named_twice_is_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,2")
    with leased(2):
        assert seen() == "2"


def test_all_gpus_are_there_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: one (UUID: a)'\necho '  MIG 1g'\necho 'GPU 1: another (UUID: b)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    with leased(1):
        assert seen() == "0"
    with leased(9):
        assert seen() == "0,1"
    monkeypatch.setenv("PATH", str(tmp_path))
    with leased(1):
        assert seen() is None


def test_jobs_of_slurm_do_not_meet(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with leased(1):
        assert seen() == "0"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
        with leased(1):
            assert seen() == "1"
        monkeypatch.setenv("SLURM_JOB_ID", "2")  # whose first GPU is another
        with leased(1):
            assert seen() == "0"


def test_jobs_without_a_gpu_see_what_there_is():
    with leased(0):
        assert seen() == "0,1,2,3"
