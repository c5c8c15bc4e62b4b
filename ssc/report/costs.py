"""What the jobs of a run cost, from Snakemake's benchmark files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ssc.data.index import Index
from ssc.runtime.files import read_tsv

HEADER = ["stage", "rule", "jobs", "photos", "seconds", "longest_job", "mean_load", "memory_mb", "seconds_per_photo"]


def cost_rows(benchmarks: Mapping[str, Sequence[Mapping]], index: Index) -> list[dict[str, str]]:
    """Rows of a table of costs: one per rule that has run, before them one of their stage if it has several, and at
    the end one of all.

    Args:
        benchmarks: by stage, in the order of the road, its rules: their name (`rule`), the benchmark `files` of their
            jobs where these exist, the `splits` whose photos they go through (none: photos do not decide on the time),
            and whether they pass over photos without a mask (`masked`).
        index: the photos.

    Returns:
        Cells by column (`HEADER`), without those that are not known. `seconds` are those of all jobs, `longest_job` of
        one; `mean_load` of the processor is in percent of one core; `memory_mb` is that of the largest job. Jobs that
        were too short to be sampled count in neither of the latter. Rows of several rules have no `rule` and no photos.
    """
    rows, all_jobs = [], []
    for stage, rules in benchmarks.items():
        ran = [(rule, jobs) for rule in rules if (jobs := _read_jobs(rule["files"]))]
        jobs_of_stage = [job for _, jobs in ran for job in jobs]
        all_jobs += jobs_of_stage
        if len(ran) > 1:
            rows.append({"stage": stage, **_cells(jobs_of_stage)})
        for rule, jobs in ran:
            photos = [photo for name in rule["splits"] for photo in index.split(name)]
            count = sum(bool(photo.mask) or not rule["masked"] for photo in photos)
            rows.append({"stage": stage, "rule": rule["rule"], **_cells(jobs, photos=count)})
    return [*rows, {"stage": "all", **_cells(all_jobs)}] if all_jobs else []


def _read_jobs(files: Iterable[str | Path]) -> list[dict[str, str]]:
    return [job for file in files if Path(file).exists() for job in read_tsv(file)]


def _cells(jobs: Sequence[Mapping[str, str]], *, photos: int = 0) -> dict[str, str]:
    seconds = [float(job["s"]) for job in jobs]
    cells = {"jobs": str(len(jobs)), "seconds": f"{sum(seconds):.1f}", "longest_job": f"{max(seconds):.1f}"}
    if photos:
        cells |= {"photos": str(photos), "seconds_per_photo": f"{sum(seconds) / photos:.4f}"}
    loads = [(float(job["mean_load"]), float(job["s"])) for job in jobs if _sampled(job["mean_load"])]
    if time := sum(own for _, own in loads):
        cells["mean_load"] = f"{sum(load * own for load, own in loads) / time:.0f}"
    memory = [float(job["max_rss"]) for job in jobs if _sampled(job["max_rss"])]
    if memory:
        cells["memory_mb"] = f"{max(memory):.0f}"
    return cells


def _sampled(cell: str) -> bool:
    return cell not in ("-", "NA", "")
