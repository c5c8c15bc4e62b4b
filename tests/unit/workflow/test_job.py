"""What surrounds a rule's work: log, checksums, one sentence for what the user can mend."""

import errno
import hashlib
import logging
import os
import re
import tempfile
from types import SimpleNamespace

import pytest
import torch

from ssc.data.index import Row
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic
from ssc.runtime.progress import log
from ssc.training.loader import TrainingLoader
from ssc.workflow.job import check_file, checksum_path, job


def rule(log_path, *, inputs=(), outputs=(), device="auto", gpus=0):
    """What `job` reads of the object `snakemake` of a script."""
    files = {"input": [str(path) for path in inputs], "output": list(map(str, outputs)), "log": [str(log_path)]}
    return SimpleNamespace(**files, config={"device": device}, resources={"gpu": gpus})


@pytest.fixture(autouse=True)
def logger_as_before():
    level = log.level
    yield
    log.setLevel(level)
    assert not any(isinstance(handler, logging.FileHandler) for handler in log.handlers)


def test_the_log_goes_to_the_file_for_the_block_only(tmp_path):
    path = tmp_path / "new" / "rule.log"
    with job(rule(path)):
        log.info("within %d", 1)
    log.info("after")
    assert re.fullmatch(r"\d\d:\d\d:\d\d within 1\n", path.read_text())
    with job(rule(path)):
        log.info("again")
    assert "within" not in path.read_text()


def test_others_may_append_to_the_log(tmp_path):
    path = tmp_path / "rule.log"
    with job(rule(path)):
        log.info("first")
        with path.open("a") as handle:
            handle.write("another process\n")
        log.info("last")
    assert re.fullmatch(r"\S+ first\nanother process\n\S+ last\n", path.read_text())


def test_bad_input_ends_with_its_sentence_and_status_1(tmp_path):
    with pytest.raises(SystemExit) as exit_info, job(rule(tmp_path / "rule.log")):
        raise InputError("labels.csv lacks a column; add it.")
    # Python prints the text of SystemExit on the terminal and ends with status 1.
    assert exit_info.value.code == "\nError: labels.csv lacks a column; add it.\n"
    text = (tmp_path / "rule.log").read_text()
    assert text.endswith("Error: labels.csv lacks a column; add it.\n") and "Traceback" not in text


def test_a_defect_keeps_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError), job(rule(tmp_path / "rule.log")):
        1 / 0  # noqa: B018
    text = (tmp_path / "rule.log").read_text()
    assert "Traceback" in text and "ZeroDivisionError" in text and "1 / 0" in text


def test_outputs_get_a_checksum_that_later_rules_compare(tmp_path):
    made, folder = tmp_path / "made.tsv", tmp_path / "folder"
    with job(rule(tmp_path / "a.log", outputs=[made, folder])):
        made.write_bytes(b"abc")
        folder.mkdir()
    assert checksum_path(made).read_text() == f"{hashlib.sha256(b'abc').hexdigest()}  made.tsv\n"
    assert not checksum_path(folder).exists()
    (tmp_path / "own.tsv").write_bytes(b"of the user")
    inputs = [made, folder, tmp_path / "own.tsv"]
    with job(rule(tmp_path / "b.log", inputs=inputs)):
        pass


@pytest.mark.parametrize("damage", [b"abd", b"ab", b""])
def test_a_damaged_input_stops_the_job_before_its_work(tmp_path, damage):
    made, began = tmp_path / "made.tsv", []
    with job(rule(tmp_path / "a.log", outputs=[made])):
        made.write_bytes(b"abc")
    made.write_bytes(damage)
    with pytest.raises(SystemExit) as exit_info, job(rule(tmp_path / "b.log", inputs=[made])):
        began.append(True)
    assert not began
    assert f"{made} is damaged, or was changed by hand" in exit_info.value.code and "Delete it" in exit_info.value.code
    assert str(checksum_path(made)) in exit_info.value.code
    checksum_path(made).unlink()  # as the sentence says, if the change is wanted
    check_file(made)


def test_a_job_that_fails_leaves_no_checksum_of_an_earlier_output(tmp_path):
    made = tmp_path / "made.tsv"
    with job(rule(tmp_path / "a.log", outputs=[made])):
        made.write_bytes(b"abc")
    with pytest.raises(SystemExit), job(rule(tmp_path / "a.log", outputs=[made])):
        raise InputError("no")
    assert not checksum_path(made).exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_full_disk_or_a_read_only_folder_is_one_sentence(tmp_path, number):
    path = tmp_path / "results" / "x.zip"
    path.parent.mkdir()
    path.write_bytes(b"earlier")
    with pytest.raises(SystemExit) as exit_info, job(rule(tmp_path / "a.log")), atomic(path) as temporary:
        temporary.write_bytes(b"half of it")
        raise OSError(number, "as the system says it")
    assert f"{path} cannot be written or read (as the system says it)" in exit_info.value.code
    assert "run again" in exit_info.value.code
    assert path.read_bytes() == b"earlier" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DataLoader worker (pid 123) is killed by signal: Killed. "),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_exhausted_memory_is_one_sentence(tmp_path, error):
    with pytest.raises(SystemExit, match="The memory is exhausted; set memory: lean"), job(rule(tmp_path / "a.log")):
        raise error


def test_ctrl_c_is_no_defect(tmp_path):
    with pytest.raises(SystemExit, match=r"^\nInterrupted.\n$"), job(rule(tmp_path / "a.log")):
        raise KeyboardInterrupt
    assert "Traceback" not in (tmp_path / "a.log").read_text()


def test_other_errors_of_the_system_are_defects(tmp_path):
    with pytest.raises(FileNotFoundError), job(rule(tmp_path / "a.log")):
        (tmp_path / "absent").read_bytes()


def read_badly(row, rng):
    raise InputError("The photo x.jpg is damaged; replace it.")


def test_the_sentence_of_a_process_that_loads_data_comes_alone(tmp_path):
    rows = [Row(str(k), "train", "", "", ()) for k in range(4)]
    loader = TrainingLoader(rows, read_badly, batch_size=2, seed=0, workers=2)
    told = r"^\nError: The photo x\.jpg is damaged; replace it\.\n$"
    with pytest.raises(SystemExit, match=told), job(rule(tmp_path / "a.log")):
        list(loader.epoch(0))


def test_what_killed_jobs_have_left_is_removed(tmp_path):
    own = [tmp_path / ".x[1].zip.77.tmp", tmp_path / ".x[1].zip.checkpoint.77.tmp"]
    others = [tmp_path / ".x1.zip.77.tmp", tmp_path / "x[1].zip.checkpoint"]
    for path in [*own, *others]:
        path.touch()
    with job(rule(tmp_path / "a.log", outputs=[tmp_path / "x[1].zip"])):
        pass
    assert [path.exists() for path in [*own, *others]] == [False, False, True, True]


def test_a_log_that_cannot_be_written_stops_no_work(tmp_path, capsys, monkeypatch):
    with job(rule(tmp_path / "a.log")):
        (handler,) = [each for each in log.handlers if isinstance(each, logging.FileHandler)]
        monkeypatch.setattr(handler.stream, "write", lambda text: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        log.info("lost")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("device", "gpus", "seen"), [("auto", 1, "4"), ("cuda", 2, "4,5"), ("cuda:1", 1, "4,5"), ("cpu", 1, "4,5")]
)
def test_a_job_sees_the_gpus_that_it_asks_for(tmp_path, monkeypatch, device, gpus, seen):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with job(rule(tmp_path / "rule.log", device=device, gpus=gpus)):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
