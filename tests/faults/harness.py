"""What the fault classes share: a copy of the project, an undisturbed run, what counts as a result, the table."""

import csv
import hashlib
import io
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from ssc.data.demo import generate
from tests.faults.snakemake import PATIENCE, ROOT, TINY, Job, Place, jobs

_PROJECT = ("Snakefile", "config.yaml", "config", "envs", "profiles", "report", "rules", "ssc", "workflow_scripts")
# The demo's photos as a user's own folder. Trainings have more epochs than in tiny.yaml: some have passed when a kill
# comes.
_DATASET = {"name": "tiny", "kind": "folder", "root": "photos", "masks": "masks"}
EPOCHS = {"warm_start": 4, "classifier": 6, "irn": 4, "segmentation": 6}
# Tables that hold times as a whole, and the columns of another that do.
_TIMED_FILES = ("costs.tsv", "summary.txt", "report.html")
_TIMED_COLUMNS = ("seconds", "memory_mb")
_ASIDE = (".checkpoint", ".unused")  # of trainings that are not done
_NO_RESULTS = ("logs", "benchmarks", "data")


@dataclass
class Outcome:
    """What became of the faults of one class.

    Attributes:
        fault: the class.
        tried: number of faults.
        lost: a message for each that lost a result, made one anew without need, or ended in a traceback.
        stale: a message for each after which a result is not that of the final state.
        seconds: what it took.
        skipped: why nothing, or not everything, was tried.
        counts: faults by rule or by kind.
    """

    fault: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def survived(self) -> int:
        """Faults after which everything was as it should be."""
        return max(0, self.tried - len(self.lost) - len(self.stale))

    def count(self, what: str) -> None:
        """One more fault, of that rule or kind."""
        self.tried += 1
        self.counts[what] = self.counts.get(what, 0) + 1


@dataclass(frozen=True)
class Campaign:
    """What all classes of one campaign share.

    Attributes:
        folder: for all that it makes; an empty folder.
        seed: of all that is chosen at random.
        quick: a selection only.
    """

    folder: Path
    seed: int = 0
    quick: bool = False

    def random(self, name: str) -> random.Random:
        """Random numbers of one class, which do not depend on the others."""
        return random.Random(f"{self.seed} {name}")

    @cached_property
    def project(self) -> Path:
        """A copy of the project, so that edits of the original meanwhile change nothing."""
        folder = self.folder / "project"
        return folder if folder.exists() else copy_project(folder)

    @cached_property
    def reference(self) -> Place:
        """The undisturbed run; made once in a folder, whose processes may share it."""
        log = self.folder / "reference.log"
        if log.exists():
            return self._place("reference")
        shutil.rmtree(self.folder / "reference", ignore_errors=True)
        place = self.place("reference")
        text = place.succeed()
        log.write_text(text)
        return place

    @cached_property
    def reference_log(self) -> str:
        """What Snakemake said in the undisturbed run."""
        _ = self.reference
        return (self.folder / "reference.log").read_text()

    @cached_property
    def reference_jobs(self) -> list[Job]:
        """The jobs of the undisturbed run, in the order in which they ran."""
        return jobs(self.reference_log)

    @cached_property
    def expected(self) -> dict[str, str]:
        """Digests of all results of the undisturbed run."""
        return results(self.reference.folder)

    def place(self, name: str, *, cores: int = 2) -> Place:
        """A working folder with photos and configuration where nothing has been run."""
        place = self._place(name, cores)
        generate(place.folder / "photos", train=12, val=6, size=48)
        config = yaml.safe_load(TINY.read_text()) | {"dataset": _DATASET}
        for section, epochs in EPOCHS.items():
            config[section]["epochs"] = epochs
        place.configfile.write_text(yaml.safe_dump(config))
        return place

    def finished(self, name: str) -> Place:
        """A working folder in which the undisturbed run has been made, and a copy of the project of its own."""
        folder, project = self.folder / name, self.folder / f"{name}-project"
        for there in (folder, project):
            shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(self.reference.folder, folder)
        shutil.copytree(self.project, project)
        return Place(folder, project, folder / "my.yaml")

    def fresh(self, name: str, like: Place) -> Place:
        """A working folder with all that another's user has put there, where nothing has been run."""
        folder = self.folder / name
        shutil.copytree(like.folder, folder, ignore=shutil.ignore_patterns("results", ".snakemake"))
        return Place(folder, like.project, folder / like.configfile.name, like.cores)

    def _place(self, name: str, cores: int = 2) -> Place:
        folder = self.folder / name
        return Place(folder, self.project, folder / "my.yaml", cores)


def copy_project(folder: Path) -> Path:
    """Copy what a run needs of the project to `folder`; returns it."""
    for part in _PROJECT:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / part, folder / part)
    return folder


def results(folder: Path) -> dict[str, str]:
    """SHA-256 of every result under its final name, by path in the working folder.

    Logs, benchmarks, the demo's photos, hidden files and checkpoints are none; tables count without their times.
    """
    found = {}
    base = folder / "results"
    for path in sorted(base.rglob("*")):
        parts = path.relative_to(base).parts
        hidden = any(part.startswith(".") for part in parts) or path.suffix in _ASIDE
        if not path.is_file() or hidden or set(parts) & set(_NO_RESULTS) or path.name in _TIMED_FILES:
            continue
        content = path.read_bytes()
        if path.name == "metrics.tsv":
            content = _without_times(content)
        found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def _without_times(table: bytes) -> bytes:
    rows = csv.DictReader(io.StringIO(table.decode()), delimiter="\t")
    return repr([{key: cell for key, cell in row.items() if key not in _TIMED_COLUMNS} for row in rows]).encode()


def not_whole(folder: Path, expected: dict[str, str]) -> list[str]:
    """Results of an unfinished run that are not those of the finished one, a phrase each: half-written, or other."""
    return [phrase for phrase in differences(results(folder), expected) if not phrase.endswith(" is missing")]


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Results that are missing, superfluous or other than expected, a phrase each."""
    missing = [f"{path} is missing" for path in expected if path not in found]
    other = [f"{path} differs" for path in found if path in expected and found[path] != expected[path]]
    return missing + other + [f"{path} is too many" for path in found if path not in expected]


def traceback_in(text: str) -> bool:
    """Whether a traceback was shown in place of a message."""
    return "Traceback (most recent call last)" in text


def children(pid: int) -> list[int]:
    """Ids of the running processes below a process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):  # it has just ended
                continue
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        below = [child for child, above in parents.items() if above == parent]
        found += below
        waiting += below
    return found


def script_processes(pids: Iterable[int], script: str = r"\w+") -> list[int]:
    """Of these processes the ones that run a script of the workflow; `script` is a pattern of its name."""
    pattern = re.compile(rf"\.snakemake/scripts/\w+\.(?:{script})\.py")
    found = []
    for pid in pids:
        try:
            if pattern.search(Path(f"/proc/{pid}/cmdline").read_text()):
                found.append(pid)
        except OSError:  # it has just ended
            continue
    return found


def scripts_by_rule(project: Path) -> dict[str, str]:
    """By rule, a pattern of the script that it runs: of several, where a condition chooses among rules of one name."""
    pattern = re.compile(r'^ *rule (\w+):(?:(?!^ *rule ).)*?workflow_scripts/(\w+)\.py"', re.MULTILINE | re.DOTALL)
    found: dict[str, list[str]] = {}
    for file in sorted((project / "rules").glob("*.smk")):
        for rule, script in pattern.findall(file.read_text()):
            found.setdefault(rule, []).append(script)
    return {rule: "|".join(scripts) for rule, scripts in found.items()}


def wait_until(true: Callable[[], bool], call: subprocess.Popen, *, poll: float = 0.03) -> bool:
    """Wait until `true()` holds, asked every `poll` seconds; False if the call ends, or patience does, before."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if true():
            return True
        if call.poll() is not None:
            return False
        time.sleep(poll)
    return False


def end(call: subprocess.Popen) -> bool:
    """Wait for the end of a call; False if it had to be killed, with all of its group."""
    try:
        call.wait(PATIENCE)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(call.pid, signal.SIGKILL)
        call.wait()
        return False


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    lines = ["| fault | tried | survived | lost | stale | seconds | |", "|---|---:|---:|---:|---:|---:|---|"]
    for one in outcomes:
        counts = ", ".join(f"{name} {number}" for name, number in one.counts.items())
        note = "; ".join(filter(None, [counts, one.skipped]))
        cells = [one.fault, one.tried, one.survived, len(one.lost), len(one.stale), round(one.seconds), note]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
