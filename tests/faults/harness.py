"""What the fault classes share: a copy of the project, calls of Snakemake, what counts as a result, the table."""

import csv
import hashlib
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from ssc.data.demo import generate

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "workflow" / "tiny.yaml"
PATIENCE = 900.0  # seconds after which a call counts as hanging

_PROJECT = ("Snakefile", "config.yaml", "config", "envs", "profiles", "report", "rules", "ssc", "workflow_scripts")
# The data set as a user's own; trainings of more epochs than in tiny.yaml, so that some have passed when a kill comes.
_DATASET = {"name": "tiny", "kind": "folder", "root": "photos", "masks": "masks"}
_EPOCHS = {"warm_start": 6, "classifier": 8, "irn": 6, "segmentation": 8}
# Tables that hold times as a whole, and the columns of another that do.
_TIMED_FILES = ("costs.tsv", "summary.txt")
_TIMED_COLUMNS = ("seconds", "memory_mb")
_ASIDE = (".checkpoint", ".unused")  # of trainings that are not done
_NO_RESULTS = ("logs", "benchmarks", "data")
_JOB = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", re.MULTILINE)
_FINISHED = re.compile(r"^Finished jobid: (\d+) ", re.MULTILINE)


@dataclass
class Outcome:
    """What became of the faults of one class.

    Attributes:
        fault: the class.
        tried: number of faults.
        lost: a sentence for each that lost a result, made one anew without need, or ended in a traceback.
        stale: a sentence for each after which a result is not that of the final state.
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
class Job:
    """A job as Snakemake's output tells it.

    Attributes:
        rule: name of its rule.
        outputs: paths in the working folder.
        log: path of its log file, empty where it has none.
        reason: why it runs.
        finished: whether it has ended with success.
    """

    rule: str
    outputs: tuple[str, ...]
    log: str
    reason: str
    finished: bool


@dataclass(frozen=True)
class Place:
    """A working folder of Snakemake, with its configuration `my.yaml` and its photos.

    Attributes:
        folder: the working folder.
        project: the copy of the project that is run.
        cores: processors.
    """

    folder: Path
    project: Path
    cores: int = 2

    @property
    def configfile(self) -> Path:
        """The configuration, which is complete in itself."""
        return self.folder / "my.yaml"

    def change(self, key: str, value: object) -> None:
        """Change a dotted key of the configuration."""
        config = yaml.safe_load(self.configfile.read_text())
        *sections, last = key.split(".")
        part = config
        for section in sections:
            part = part.setdefault(section, {})
        part[last] = value
        self.configfile.write_text(yaml.safe_dump(config))

    def command(self, *arguments: str) -> list[str]:
        """The command line of a call; the place's own configuration stands for none among the arguments."""
        base = [sys.executable, "-m", "snakemake", "--snakefile", self.project / "Snakefile"]
        base += ["--directory", self.folder]
        base += [] if "--profile" in arguments else ["--cores", self.cores]
        base += [] if "--configfile" in arguments else ["--configfile", self.configfile]
        return [*map(str, base), *arguments]

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of a call."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.project,
            env=self._environment(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout

    def start(self, output: Path, *arguments: str, environment: Mapping[str, str] = os.environ) -> subprocess.Popen:
        """Start a call in a process group of its own; its output goes to a file."""
        with output.open("w") as handle:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.project,
                env=self._environment(environment),
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def succeed(self, *arguments: str) -> str:
        """Output of a call that must not fail.

        Raises:
            RuntimeError: it failed; the message holds the end of its output.
        """
        status, text = self.run(*arguments)
        if status:
            raise RuntimeError(f"{' '.join(self.command(*arguments))}\n{text[-4000:]}")
        return text

    def unlock(self) -> None:
        """Take away the lock that a killed call left, as Snakemake's message says."""
        if any((self.folder / ".snakemake" / "locks").glob("*")):
            self.succeed("--unlock")

    def planned(self, *arguments: str) -> set[str]:
        """Rules that a dry run would run, without the target rule."""
        return {job.rule for job in jobs(self.succeed("--dry-run", *arguments))}

    def _environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        # The copy of the project is what jobs import, not the installed one.
        return {**environment, "PYTHONPATH": str(self.project)}


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
        return copy_project(self.folder / "project")

    @cached_property
    def reference(self) -> Place:
        """The undisturbed run."""
        place = self.place("reference")
        (self.folder / "reference.log").write_text(place.succeed())
        return place

    @cached_property
    def reference_jobs(self) -> list[Job]:
        """The jobs of the undisturbed run, in the order in which they ran."""
        _ = self.reference
        return jobs((self.folder / "reference.log").read_text())

    @cached_property
    def expected(self) -> dict[str, str]:
        """Digests of all results of the undisturbed run."""
        return results(self.reference.folder)

    def place(self, name: str, *, cores: int = 2) -> Place:
        """A working folder with photos and configuration where nothing has been run."""
        folder = self.folder / name
        generate(folder / "photos", train=12, val=6, size=48)
        config = yaml.safe_load(TINY.read_text()) | {"dataset": _DATASET}
        for section, epochs in _EPOCHS.items():
            config[section]["epochs"] = epochs
        place = Place(folder, self.project, cores)
        place.configfile.write_text(yaml.safe_dump(config))
        return place

    def finished(self, name: str) -> Place:
        """A working folder in which the undisturbed run has been made, and a copy of the project of its own."""
        place = Place(self.folder / name, self.folder / f"{name}-project")
        for folder in (place.folder, place.project):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.reference.folder, place.folder)
        shutil.copytree(self.project, place.project)
        return place

    def fresh(self, name: str, like: Place) -> Place:
        """A working folder with the photos and the configuration of another, where nothing has been run."""
        place = Place(self.folder / name, like.project, like.cores)
        shutil.copytree(like.folder / "photos", place.folder / "photos")
        shutil.copy2(like.configfile, place.configfile)
        return place


def copy_project(folder: Path) -> Path:
    """Copy what a run needs of the project to `folder`; returns it."""
    for part in _PROJECT:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / part, folder / part)
    return folder


def jobs(text: str) -> list[Job]:
    """The jobs that a call has started, from its output so far, without the target rule."""
    done = set(_FINISHED.findall(text))
    found = []
    for rule, body in _JOB.findall(text):
        facts = dict(line.strip().split(": ", 1) for line in body.splitlines() if ": " in line)
        if "output" in facts:
            found.append(
                Job(
                    rule,
                    tuple(facts["output"].split(", ")),
                    facts.get("log", ""),
                    facts.get("reason", ""),
                    facts.get("jobid") in done,
                )
            )
    return found


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
    """Whether a message was a traceback in place of a sentence."""
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
    """Of these processes the ones that run a script of the workflow."""
    pattern = re.compile(rf"\.snakemake/scripts/\w+\.{script}\.py")
    found = []
    for pid in pids:
        try:
            if pattern.search(Path(f"/proc/{pid}/cmdline").read_text()):
                found.append(pid)
        except OSError:  # it has just ended
            continue
    return found


def scripts_by_rule(project: Path) -> dict[str, str]:
    """By rule, the name of the script that it runs."""
    pattern = re.compile(r'^rule (\w+):(?:(?!^rule ).)*?workflow_scripts/(\w+)\.py"', re.MULTILINE | re.DOTALL)
    return {
        rule: script for file in (project / "rules").glob("*.smk") for rule, script in pattern.findall(file.read_text())
    }


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
