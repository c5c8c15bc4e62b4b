"""What the jobs of a run cost, from Snakemake's benchmark files."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ssc.data.index import Index
from ssc.runtime.files import read_table

# Format of the columns of numbers.
FORMATS = {
    "jobs": ".0f", "photos": ".0f", "seconds": ".1f", "longest_job": ".1f", "mean_load": ".0f", "memory_mb": ".0f",
    "seconds_per_photo": ".4f",
}  # fmt: skip


def cost_table(benchmarks: Mapping[str, Sequence[Mapping]], index: Index) -> pd.DataFrame:
    """Costs: a row per rule that has run, before them one of their stage if it has several, and at the end one of all.

    Args:
        benchmarks: by stage, in the order of the road, its rules: their name (`rule`), the benchmark `files` of their
            jobs where these exist, the `splits` whose photos they go through (none: photos do not decide on the time),
            and whether they pass over photos without a mask (`masked`).
        index: the photos.

    Returns:
        The columns `stage`, `rule` and those of `FORMATS`, missing where not known. `seconds` are those of all jobs,
        `longest_job` of one; `mean_load` of the processor is in percent of one core; `memory_mb` is that of the largest
        job. Jobs that were too short to be sampled count in neither of the latter. Rows of several rules have no `rule`
        and no photos.
    """
    rows, all_jobs = [], []
    for stage, rules in benchmarks.items():
        ran = [(rule, jobs) for rule in rules if (jobs := _read_jobs(rule["files"]))]
        jobs_of_stage = [job for _, jobs in ran for job in jobs]
        all_jobs += jobs_of_stage
        if len(ran) > 1:
            rows.append({"stage": stage, **_sums(jobs_of_stage)})
        for rule, jobs in ran:
            photos = [photo for name in rule["splits"] for photo in index.split(name)]
            count = sum(bool(photo.mask) or not rule["masked"] for photo in photos)
            rows.append({"stage": stage, "rule": rule["rule"], "photos": count or None, **_sums(jobs)})
    if all_jobs:
        rows.append({"stage": "all", **_sums(all_jobs)})
    table = pd.DataFrame(rows, columns=["stage", "rule", *FORMATS]).astype({"photos": float})
    return table.assign(seconds_per_photo=table["seconds"] / table["photos"])


def _read_jobs(files: Iterable[str | Path]) -> list[pd.DataFrame]:
    return [read_table(file) for file in files if Path(file).exists()]


def _sums(tables: Sequence[pd.DataFrame]) -> dict[str, float]:
    jobs = pd.concat(tables)[["s", "mean_load", "max_rss"]].apply(pd.to_numeric, errors="coerce")
    sampled = jobs.dropna(subset="mean_load")
    return {
        "jobs": len(jobs),
        "seconds": sum(jobs["s"]),
        "longest_job": jobs["s"].max(),
        "mean_load": sum(sampled["mean_load"] * sampled["s"]) / (sum(sampled["s"]) or math.nan),
        "memory_mb": jobs["max_rss"].max(),
    }
