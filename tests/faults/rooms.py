"""No room: a full disk, a folder that became read-only, memory that is exhausted, each at several stages.

The working folder lies on a small file system of its own, which only root may mount. What the jobs say must be a
message, what was finished must stay, and the run must go on when there is room.
"""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.harness import (
    Campaign,
    Outcome,
    children,
    differences,
    end,
    not_whole,
    results,
    script_processes,
    traceback_in,
    wait_until,
)
from tests.faults.snakemake import Place

SIZE = "64m"
LEFT = 160_000  # bytes left on the full disk: Snakemake's own notes fit in, weights and pictures do not
# By rule that shall meet the fault, in the order of the workflow, the rules to run before.
FULL = {
    "warm_start": ("index",),
    "train_classifier": ("warm_start", "superpixels"),
    "train_irn": ("irn_labels",),
    "train_segmentation": ("random_walk",),
    "panels": ("evaluate_predictions", "evaluate_pseudo_labels"),
}
READ_ONLY = {"train_classifier": "results/tiny", "train_irn": "."}
# Trainings that shall meet it, with their checkpoints: they have all memory that they need when the first is there.
NO_MEMORY = {
    "train_classifier": "results/tiny/ssc/classifier.safetensors.checkpoint",
    "train_segmentation": "results/tiny/ssc/segmentation.safetensors.checkpoint",
}


def rooms(campaign: Campaign) -> Outcome:
    """Fill the disk, make folders read-only and take memory away; nothing where mounting is not allowed."""
    outcome = Outcome("no room")
    folder = campaign.folder / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        outcome.skipped = f"a small disk cannot be mounted ({mounted.stderr.strip()})"
        return outcome
    try:
        place = campaign.place("small")
        place.change("dataset.check_space", False)  # else the estimate stops the run before the disk is full
        _stages(campaign, place, outcome)
    finally:
        subprocess.run(["umount", "--recursive", folder], check=True)
    return outcome


def _stages(campaign: Campaign, place: Place, outcome: Outcome) -> None:
    for rule, before in FULL.items():
        if campaign.quick and rule != "train_classifier":
            continue
        place.succeed("--until", *before)
        if rule in NO_MEMORY:
            _without_memory(campaign, place, outcome, rule)
        with _full(place.folder):
            _must_tell(place, outcome, f"full disk at {rule}", rule, "make room")
        if rule in READ_ONLY:
            with _read_only(place.folder / READ_ONLY[rule]):
                _must_tell(place, outcome, f"read-only {READ_ONLY[rule]} at {rule}", rule, "ead-only")
    if campaign.quick:
        left = not_whole(place.folder, campaign.expected)
    else:
        place.succeed()
        left = differences(results(place.folder), campaign.expected)
    outcome.stale += [f"{phrase} at the end (python -m tests.faults rooms)" for phrase in left]


def _must_tell(place: Place, outcome: Outcome, what: str, rule: str, word: str) -> None:
    before = results(place.folder)
    status, text = place.run("--until", rule)
    outcome.count(what.split(" at ")[0])
    print(f"    {what}", flush=True)
    if status == 0 or word not in text or traceback_in(text):
        outcome.lost.append(f"{what}: no message: {text[-1500:]}")
    place.unlock()
    outcome.lost += [f"{what}: {phrase}" for phrase in differences(results(place.folder), before)]


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Fill the disk that a folder lies on."""
    disk = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - LEFT))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Make a folder a mount of its own that cannot be written to."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _without_memory(campaign: Campaign, place: Place, outcome: Outcome, rule: str) -> None:
    """Allow a training no more memory than it has after its first epoch."""
    what = f"no memory at {rule}"
    output = campaign.folder / "call.log"
    before = results(place.folder)
    # So that each large tensor is asked of the system: else a small training goes on with what it has been given.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    call = place.start(output, "--until", rule, environment=environment)
    met = wait_until((place.folder / NO_MEMORY[rule]).exists, call, poll=0.002)
    for pid in script_processes(children(call.pid), rule):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    end(call)
    text = output.read_text()
    outcome.count("no memory")
    print(f"    {what}", flush=True)
    if not met or "memory is exhausted" not in text or traceback_in(text):
        outcome.lost.append(f"{what}: no message: {text[-1500:]}")
    outcome.lost += [f"{what}: {phrase}" for phrase in differences(results(place.folder), before)]
