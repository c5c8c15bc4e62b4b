"""The fault campaign, or the classes named; a table of what was tried, survived, lost and stale.

    python -m tests.faults [CLASS ...] [--quick] [--seed N] [--folder FOLDER] [--write-docs]

Ends with status 1 if anything was lost or stale, and says how to repeat each failure.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ssc.runtime.files import write_text
from tests.faults.bad_input import bad_input
from tests.faults.corruptions import corruptions
from tests.faults.harness import Campaign, Outcome, table
from tests.faults.kills import kills
from tests.faults.matrix import reruns
from tests.faults.rooms import rooms
from tests.faults.slurm import slurm
from tests.faults.snakemake import ROOT

DOCS = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
CLASSES = {
    "kills": kills,
    "corruptions": corruptions,
    "rooms": rooms,
    "bad_input": bad_input,
    "reruns": reruns,
    "slurm": slurm,
}


def write_docs(text: str) -> None:
    """Put the table between the markers of docs/faults.md."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(DOCS, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="The fault campaign on tiny data.")
    parser.add_argument("classes", nargs="*", metavar="CLASS", help=f"one of {', '.join(CLASSES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a selection, for continuous integration")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and places (default: 0)")
    parser.add_argument("--folder", type=Path, help="folder to work in, which stays (default: a temporary one)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/faults.md")
    options = parser.parse_args()
    unknown = set(options.classes) - set(CLASSES)
    if unknown:
        parser.error(f"no such class: {', '.join(sorted(unknown))}; there are {', '.join(CLASSES)}")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="ssc-chaos-"))
    if options.folder:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    campaign = Campaign(folder.resolve(), options.seed, options.quick)
    outcomes = []
    for name in options.classes or CLASSES:
        print(f"... {name}", flush=True)
        start = time.monotonic()
        try:
            outcome = CLASSES[name](campaign)
        except (RuntimeError, subprocess.TimeoutExpired) as error:  # a call that must not fail has failed
            outcome = Outcome(name, tried=1, lost=[f"{error} (python -m tests.faults {name} --seed {options.seed})"])
        outcome.seconds = time.monotonic() - start
        outcomes.append(outcome)
    print(f"\n{table(outcomes)}")
    if options.write_docs:
        write_docs(table(outcomes))
    failures = [
        (one.fault, kind, text) for one in outcomes for kind in ("lost", "stale") for text in getattr(one, kind)
    ]
    for fault, kind, text in failures:
        print(f"\n{fault}, {kind}: {text}")
    if not options.folder:
        shutil.rmtree(folder)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
