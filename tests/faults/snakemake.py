"""One helper runs Snakemake, for the workflow's tests and for the campaign: a working folder, and calls in it."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "workflow" / "tiny.yaml"
PATIENCE = 900.0  # seconds after which a call counts as hanging

_JOB = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", re.MULTILINE)
_FINISHED = re.compile(r"^Finished jobid: (\d+) ", re.MULTILINE)


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
    """A working folder of Snakemake.

    Attributes:
        folder: the working folder.
        project: the project that is run, or a copy of it.
        configfile: laid over the project's own configuration where a call names no other; None for nothing.
        cores: processors.
    """

    folder: Path
    project: Path = ROOT
    configfile: Path | None = TINY
    cores: int = 2

    def change(self, key: str, value: object) -> None:
        """Change a dotted key of the configuration."""
        config = yaml.safe_load(self.configfile.read_text())
        *sections, last = key.split(".")
        part = config
        for section in sections:
            part = part.setdefault(section, {})
        part[last] = value
        self.configfile.write_text(yaml.safe_dump(config))

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of a call. Targets go before the options."""
        given = [*map(str, arguments)]
        options = ["--snakefile", self.project / "Snakefile", "--directory", self.folder]
        options += [] if "--profile" in given else ["--cores", self.cores]
        options += [] if "--configfile" in given or not self.configfile else ["--configfile", self.configfile]
        return [sys.executable, "-m", "snakemake", *given, *map(str, options)]

    def run(self, *arguments: str | Path, environment: Mapping[str, str] = os.environ) -> tuple[int, str]:
        """Exit status and output of a call."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.project,
            env=self._environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout

    def start(
        self, output: Path, *arguments: str | Path, environment: Mapping[str, str] = os.environ
    ) -> subprocess.Popen:
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

    def succeed(self, *arguments: str | Path, environment: Mapping[str, str] = os.environ) -> str:
        """Output of a call that must not fail.

        Raises:
            RuntimeError: it failed; the message holds the end of its output.
        """
        status, text = self.run(*arguments, environment=environment)
        if status:
            raise RuntimeError(f"{' '.join(self.command(*arguments))}\n{text[-4000:]}")
        return text

    def unlock(self) -> None:
        """Take away the lock that a killed call left, as Snakemake's message says."""
        if any((self.folder / ".snakemake" / "locks").glob("*")):
            self.succeed("--unlock")

    def planned(self, *arguments: str | Path) -> set[str]:
        """Rules that a dry run would run, without the target rule."""
        return {job.rule for job in jobs(self.succeed(*arguments, "--dry-run"))}

    def _environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        # Jobs import the `ssc` of the project that is run, not the installed one. A project of tests may have none.
        return {**environment, "PYTHONPATH": os.pathsep.join(map(str, (self.project, ROOT)))}


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


def rule_texts() -> dict[str, str]:
    """Text of each rule of the workflow by name."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    return {name: body for _, name, body in re.findall(r"^( *)rule (\w+):\n((?:\1    .*\n|\n)*)", text, flags=re.M)}
