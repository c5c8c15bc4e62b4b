"""Index and workflow at the size of VOC with SBD (10,582 images) and of a million images.

    python -m benchmarks.index_scale

The rows are synthetic, as no pixels are read for an index. Each step runs in a process of its own. Prints the seconds
and the peak memory of writing the table and of reading it with one of 16 shards, which every per-image job does, and
the seconds and jobs of a dry run of the whole workflow.
"""

import argparse
import multiprocessing
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ssc.data.index import Index, Row, read_index, write_index
from ssc.data.voc import VOC_CLASSES

ROOT = Path(__file__).parents[1]


def rows(count: int) -> list[Row]:
    """Training images with one to three of the 20 classes."""
    return [
        Row(f"2008_{k:07d}", "train", f"data/voc/VOCdevkit/VOC2012/JPEGImages/2008_{k:07d}.jpg", "", labels(k))
        for k in range(count)
    ]


def labels(k: int) -> tuple[int, ...]:
    return tuple(sorted({1 + k % 20, 1 + k // 20 % 20, 1 + k // 400 % 20}))


def write(folder: Path, count: int) -> float:
    """Seconds of making and writing the index."""
    start = time.perf_counter()
    write_index(folder / "index.tsv", Index(VOC_CLASSES, rows(count)))
    return time.perf_counter() - start


def read(folder: Path, count: int) -> float:
    """Seconds of reading the index and choosing a shard."""
    start = time.perf_counter()
    shard = read_index(folder / "index.tsv").shard("train", "1-of-16")
    seconds = time.perf_counter() - start
    assert 0.9 * count / 16 < len(shard) < 1.1 * count / 16
    return seconds


def measured(step, folder: Path, count: int) -> tuple[float, float]:
    """Seconds of a step, and MB that its process held at most."""
    seconds = step(folder, count)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def dry_run(folder: Path, count: int) -> tuple[float, int]:
    """Seconds and jobs of a dry run on a folder whose table lists `count` photos."""
    lines = (f"{row.id}.jpg,{';'.join(VOC_CLASSES[k - 1] for k in row.labels)}\n" for row in rows(count))
    (folder / "labels.csv").write_text("image,labels\n" + "".join(lines))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--configfile", ROOT / "config" / "folder.yaml"]
    start = time.perf_counter()
    done = subprocess.run(
        [*map(str, command), "--config", "dataset={'root': '.'}"], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - start
    return seconds, int(re.search(r"^total +(\d+)", done.stdout + done.stderr, flags=re.M)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", type=int, default=[10_582, 1_000_000])
    counts = parser.parse_args().images
    spawn = multiprocessing.get_context("spawn")
    print(f"{'images':>10}{'write s':>10}{'MB':>8}{'read s':>10}{'MB':>8}{'file MB':>10}{'plan s':>10}{'jobs':>8}")
    for count in counts:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,
        ):
            folder = Path(folder)
            write_seconds, write_mb = pool.submit(measured, write, folder, count).result()
            read_seconds, read_mb = pool.submit(measured, read, folder, count).result()
            size = (folder / "index.tsv").stat().st_size / 1e6
            plan_seconds, jobs = dry_run(folder, count)
        print(
            f"{count:>10}{write_seconds:>10.2f}{write_mb:>8.0f}{read_seconds:>10.2f}{read_mb:>8.0f}{size:>10.1f}"
            f"{plan_seconds:>10.1f}{jobs:>8}",
            flush=True,
        )


if __name__ == "__main__":
    main()
