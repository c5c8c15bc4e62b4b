"""Index and workflow at the size of VOC with SBD (10,582 images) and of a million images.

    python -m benchmarks.index_scale

The rows are synthetic, as no pixels are read for an index. Each step runs in a process of its own: writing the table;
reading it with one of 16 shards, which every per-image job does; and a dry run of the whole workflow.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import LINEAR, ROOT, Figure, Row, exponent, in_fresh_process, interleaved, peak_memory, run
from ssc.data.index import Index, read_index, write_index
from ssc.data.index import Row as Photo
from ssc.data.voc import VOC_CLASSES


def rows(count: int) -> list[Photo]:
    """Training images with one to three of the 20 classes."""
    return [
        Photo(f"2008_{k:07d}", "train", f"data/voc/VOCdevkit/VOC2012/JPEGImages/2008_{k:07d}.jpg", "", labels(k))
        for k in range(count)
    ]


def labels(k: int) -> tuple[int, ...]:
    """Class ids of image k."""
    return tuple(sorted({1 + k % 20, 1 + k // 20 % 20, 1 + k // 400 % 20}))


def write(folder: Path, count: int) -> None:
    """Make and write the index."""
    write_index(folder / "index.tsv", Index(VOC_CLASSES, rows(count)))


def read(folder: Path, count: int) -> None:
    """Read the index and choose a shard."""
    shard = read_index(folder / "index.tsv").shard("train", "1-of-16")
    assert 0.9 * count / 16 < len(shard) < 1.1 * count / 16


def plan(folder: Path, count: int) -> int:
    """Jobs of a dry run on a folder whose table lists `count` photos."""
    lines = (f"{row.id}.jpg,{';'.join(VOC_CLASSES[k - 1] for k in row.labels)}\n" for row in rows(count))
    (folder / "labels.csv").write_text("image,labels\n" + "".join(lines))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--configfile", ROOT / "config" / "folder.yaml"]
    done = subprocess.run(
        [*map(str, command), "--config", "dataset={'root': '.'}"], capture_output=True, text=True, check=True
    )
    return int(re.search(r"^total +(\d+)", done.stdout + done.stderr, flags=re.M)[1])


def timed(folder: Path, count: int) -> tuple[float, float]:
    """Seconds of writing the index and of reading it."""
    steps = {"write": lambda: write(folder, count), "read": lambda: read(folder, count)}
    seconds, _ = interleaved(steps, rounds=3 if count < 100_000 else 1)
    return seconds["write"], seconds["read"]


def reading_memory(folder: Path, count: int) -> int:
    """Bytes that reading the index takes beyond what is there."""
    peak, before = peak_memory(lambda: read(folder, count))
    return peak - before


def measure(*, quick: bool) -> Row:
    """Index and plan of the workflow for 10,582 and for a million images."""
    counts = (1_000, 10_000) if quick else (10_582, 1_000_000)
    written, read_, memory, planned, jobs = ({} for _ in range(5))
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            name = f"{count:,}"
            written[name], read_[name] = in_fresh_process(timed, folder, count)
            memory[name] = in_fresh_process(reading_memory, folder, count) / 1e6
            seconds, results = interleaved({"plan": lambda: plan(folder, count)}, rounds=1)  # noqa: B023
            planned[name], jobs[name] = seconds["plan"], results["plan"]
    few, many = jobs.values()
    fits = {name: exponent(counts, list(costs.values())) for name, costs in (("time", read_), ("memory", memory))}
    return Row(
        "index_scale",
        f"synthetic tables of {' and '.join(f'{count:,}' for count in counts)} images",
        [
            Figure("difference of the jobs of the workflow", abs(many - few), at_most=0, parts=jobs, parts_unit="jobs"),
            Figure("reading: exponent of time", fits["time"], at_most=LINEAR, parts=read_, parts_unit="s"),
            Figure("reading: exponent of memory", fits["memory"], at_most=LINEAR, parts=memory, parts_unit="MB"),
            Figure("writing, longest", max(written.values()), "s", parts=written, parts_unit="s"),
            Figure("dry run, longest", max(planned.values()), "s", parts=planned, parts_unit="s"),
        ],
    )


if __name__ == "__main__":
    run(measure)
