"""How long a run takes, going by what the last run of its experiment took."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from ssc.data.index import Index
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, read_table
from ssc.workflow.experiments import photo_splits
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import RULES, stage_of

# What the log of a job says that found a part of its work, or all, done: its time says nothing.
_PART = re.compile(r"restored from the cache|Resumed after step|are there already")


def expected_seconds(
    folder: str | Path, index: Index, settings: Settings, *, cores: int, jobs: Mapping[str, int] | None = None
) -> float | None:
    """Seconds that a run takes, by the `costs.tsv` that the last one has left.

    More photos take more time, and so do more epochs. Jobs of a rule that run side by side share the processors.

    Args:
        folder: results/<data set>.
        index: the images.
        settings: of the experiment.
        cores: processors that jobs share.
        jobs: how many jobs of which rules there will be; None for all of the last run.

    Returns:
        None where it cannot be told: without a finished run, after one on another machine, with other settings or
        without one of the rules, or where a job of a rule went on from what an earlier one had left.
    """
    run = Path(folder) / settings.experiment
    try:
        last, table = read_json(run / "manifest.json"), read_table(run / "costs.tsv")
    except InputError:  # not there, or damaged
        return None
    then, now = last.get("config", {}), json.loads(json.dumps(settings.decisive()))
    if last.get("cores") != os.cpu_count() or _without_length(then) != _without_length(now):
        return None
    costs = {row["rule"]: row for row in table.fillna("").to_dict("records") if row["rule"]}
    total = 0.0
    for name in costs if jobs is None else jobs.keys() & RULES.keys():
        shared = stage_of(name).shared
        if name not in costs or _found_a_part(Path(folder) if shared else run, name):
            return None
        row, rule = costs[name], RULES[name]
        seconds, done = float(row["seconds"]), int(row["jobs"])
        if row["photos"]:
            photos = [photo for split in photo_splits(settings, rule) for photo in index.split(split)]
            seconds *= sum(bool(photo.mask) or not rule.masked for photo in photos) / int(row["photos"])
        section = next(iter(stage_of(name).settings), None)
        if "epochs" in now.get(section, ()):
            seconds *= now[section]["epochs"] / then[section]["epochs"]
        if jobs is not None:
            seconds *= jobs[name] / done
        total += seconds / (min(done, cores) if rule.sharded else 1)
    return total


def _without_length(config: dict) -> dict:
    """Settings but for those that decide on the length of trainings alone, and the seed."""
    return {
        key: {name: own for name, own in value.items() if name != "epochs"} if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "seed"
    }


def _found_a_part(folder: Path, rule: str) -> bool:
    logs = [folder / "logs" / f"{rule}.log", *(folder / "logs" / rule).rglob("*.log")]
    return any(_PART.search(log.read_text(encoding="utf-8", errors="replace")) for log in logs if log.exists())
