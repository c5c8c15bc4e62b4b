"""Time and memory of the last `make demo`, from the benchmark files that Snakemake wrote.

    python -m benchmarks.demo

A job's file appears when the job ends and holds its seconds. The run's time is that from the start of the first job to
the end of the last; only the reading of the workflow before lies outside. It is only told where all jobs were made in
one go.
"""

from pathlib import Path

from benchmarks.harness import ROOT, Figure, Row, run
from ssc.runtime.files import read_table

RESULTS = ROOT / "results" / "demo"
ABSENT = "There is no whole run of the demo: run make demo first."
PIECES = "The demo was made in pieces, so that its time is not known: remove results/demo and run make demo."
PAUSE = 30  # seconds without a job that no run of its own accord takes


def jobs(results: Path) -> list[tuple[float, float, float | None]]:
    """Start, end (seconds) and memory (MB; None where the job was too short to be sampled) of each job of the run."""
    found = []
    for path in [*(results / "benchmarks").rglob("*.tsv"), *(results / "ssc" / "benchmarks").rglob("*.tsv")]:
        for job in read_table(path).fillna("").to_dict("records"):
            end = path.stat().st_mtime
            memory = float(job["max_rss"]) if job["max_rss"] not in ("-", "NA", "") else None
            found.append((end - float(job["s"]), end, memory))
    return sorted(found)


def in_one_go(spans: list[tuple[float, float, float | None]]) -> bool:
    """Whether no pause lies between the jobs, sorted by their start."""
    latest = spans[0][1]
    for start, end, _ in spans:
        if start - latest > PAUSE:
            return False
        latest = max(latest, end)
    return True


def figures(results: Path) -> tuple[list[Figure], str]:
    """Figures of the run in `results`, and a note where there are none."""
    if not (results / "ssc" / "metrics.tsv").exists():
        return [], ABSENT
    spans = jobs(results)
    memory = max(own for _, _, own in spans if own is not None)
    found = [Figure("memory of the largest job", memory / 1000, "GB", at_most=4)]
    if not in_one_go(spans):
        return found, PIECES
    end = max(end for _, end, _ in spans)
    work = sum(end - start for start, end, _ in spans)
    time = Figure(
        "time", (end - spans[0][0]) / 60, "min", at_most=6, parts={"of all jobs together": work / 60}, parts_unit="min"
    )
    return [time, *found], ""


def measure(*, quick: bool) -> Row:
    """Time and memory of the last `make demo`."""
    found, note = figures(RESULTS)
    return Row("demo", "the last make demo, after installation", found, note)


if __name__ == "__main__":
    run(measure)
