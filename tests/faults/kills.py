"""Kills at random moments of every rule: of the whole process group, of one job, of Snakemake alone.

One working folder is run, killed, unlocked and run on until the run is complete; then the next begins. At all times
every file under a final name must hold the bytes of the undisturbed run, what was finished must stay and not be made
again, and what jobs say must be no traceback.
"""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import yaml

from tests.faults.harness import (
    Campaign,
    Outcome,
    children,
    differences,
    end,
    not_whole,
    results,
    script_processes,
    scripts_by_rule,
    traceback_in,
    wait_until,
)
from tests.faults.snakemake import TINY, Place, jobs

KILLS, MOST_PASSES = 60, 6
QUICK = ("superpixels", "train_classifier", "random_walk", "train_segmentation")
WAYS = tuple(itertools.product(("group", "job", "snakemake"), (signal.SIGKILL, signal.SIGTERM)))


def kills(campaign: Campaign) -> Outcome:
    """Kill each rule of the undisturbed run once in a pass, until there were enough; a few in a quick campaign."""
    outcome = Outcome("kills")
    random = campaign.random("kills")
    outputs: dict[str, set[str]] = {}
    for job in campaign.reference_jobs:
        outputs.setdefault(job.rule, set()).update(job.outputs)
    for number in range(1, 2 if campaign.quick else MOST_PASSES + 1):
        place = campaign.place(f"killed-{number}")
        ways = list(itertools.islice(itertools.cycle(WAYS), len(outputs)))
        random.shuffle(ways)
        finished: set[str] = set()
        left = set(QUICK if campaign.quick else outputs)
        for target, sign in ways:
            left = {rule for rule in left if not outputs[rule] <= finished}
            if left:
                left -= {_kill(campaign, place, outcome, left, target, sign, random.random(), finished)}
        repeat = f"python -m tests.faults kills --seed {campaign.seed}, pass {number}"
        # The rest of a quick pass would kill nothing any more.
        status, text = place.run(*(["--until", QUICK[-1]] if campaign.quick else []))
        if status:
            outcome.lost.append(f"{repeat}: the run could not be completed: {text[-1500:]}")
        _check_finished(text, finished, outcome, repeat)
        compared = not_whole(place.folder, campaign.expected)
        if not campaign.quick:
            compared = differences(results(place.folder), campaign.expected)
        outcome.stale += [f"{repeat}: {phrase}" for phrase in compared]
        if outcome.tried >= KILLS:
            break
    if not campaign.quick:
        _kill_demo(campaign, outcome, random)
    unmet = set(QUICK if campaign.quick else [*outputs, "demo_data"]) - outcome.counts.keys()
    if unmet:
        outcome.skipped = f"never met at work: {', '.join(sorted(unmet))}"
    return outcome


def _kill_demo(campaign: Campaign, outcome: Outcome, random: Random) -> None:
    """Kill the rule that draws the demo's scenes, which the other runs have as their photos."""
    for target, sign in (("group", signal.SIGKILL), ("job", signal.SIGTERM)):
        place = campaign.place(f"killed-demo-{target}")
        place.change("dataset", yaml.safe_load(TINY.read_text())["dataset"])
        _kill(campaign, place, outcome, {"demo_data"}, target, sign, random.random(), set(), until="demo_data")
        place.succeed("--until", "demo_data")
        for photo in (place.folder / "photos").rglob("*.*"):
            drawn = place.folder / "results" / "tiny" / "data" / photo.relative_to(place.folder / "photos")
            if not drawn.is_file() or drawn.read_bytes() != photo.read_bytes():
                outcome.stale.append(f"{drawn} after {sign.name} to {target} (seed {campaign.seed})")


def _kill(
    campaign: Campaign,
    place: Place,
    outcome: Outcome,
    rules: set[str],
    target: str,
    sign: signal.Signals,
    share: float,
    finished: set[str],
    until: str = "all",
) -> str:
    """Run on until a job of one of `rules` has started and `share` of its time has passed, then kill.

    Args:
        campaign, place, outcome: where, and what becomes of it.
        rules: the rules to meet, whichever comes first.
        target: `group` for all processes, `job` for one of the rule, `snakemake` for Snakemake alone.
        sign: the signal.
        share: 0..1.
        finished: outputs that earlier calls have finished; those of this call are added.
        until: the last rule to run.

    Returns:
        The rule that was met.
    """
    output = campaign.folder / "call.log"
    call = place.start(output, "--until", until)
    if not wait_until(lambda: bool(rules & set(_running(output))), call):
        end(call)
        outcome.lost.append(f"{min(rules)} was not run again after a kill: {output.read_text()[-1500:]}")
        return min(rules)
    rule = next(iter(sorted(rules & set(_running(output)))), min(rules))
    start = time.monotonic()
    moment = start + share * _seconds(campaign, rule)
    wait_until(lambda: time.monotonic() > moment or rule not in _running(output), call)
    delay = time.monotonic() - start
    running = _running(output)
    below = children(call.pid)
    own = script_processes(below, scripts_by_rule(place.project)[rule]) or script_processes(below) or [call.pid]
    with suppress(ProcessLookupError):  # it has just ended
        if target == "group":
            os.killpg(call.pid, sign)
        else:
            os.kill(own[0] if target == "job" else call.pid, sign)
    in_time = end(call)
    what = f"{sign.name} to {target} after {delay:.2f} s of {rule} (seed {campaign.seed}, {place.folder.name})"
    print(f"    {what}; running: {', '.join(running)}", flush=True)
    outcome.count(rule if rule in running else next(iter(running), "between jobs"))
    text = output.read_text()
    if not in_time:
        outcome.lost.append(f"{what}: Snakemake did not end")
    if traceback_in(text) or traceback_in(_logs(place)):
        outcome.lost.append(f"{what}: a traceback: {text[-1500:]}")
    place.unlock()
    _check_finished(text, finished, outcome, what)
    outcome.lost += [f"{what}: {phrase}" for phrase in not_whole(place.folder, campaign.expected)]
    return rule


def _running(output: Path) -> list[str]:
    """Rules whose jobs have started and not ended, by the output of a call."""
    return sorted({job.rule for job in jobs(output.read_text()) if not job.finished})


def _check_finished(text: str, finished: set[str], outcome: Outcome, what: str) -> None:
    """What an earlier call had finished must not be made again; add what this one has finished."""
    for job in jobs(text):
        again = finished & set(job.outputs)
        if again:
            outcome.lost.append(f"{what}: {min(again)} was made again ({job.reason})")
    finished.update(output for job in jobs(text) if job.finished for output in job.outputs)


def _logs(place: Place) -> str:
    return "\n".join(_texts(place.folder / "results"))


def _texts(folder: Path) -> Iterator[str]:
    for file in folder.glob("**/logs/**/*.log"):
        yield file.read_text(errors="replace")


def _seconds(campaign: Campaign, rule: str) -> float:
    """Shortest time of a job of a rule in this campaign so far: with a longer one, kills would come after its end."""
    files = campaign.folder.glob("*/results/**/benchmarks/**/*.tsv")
    tables = [file.read_text().splitlines() for file in files if rule in (file.stem, *file.parts)]
    # A table without its second line was cut off by a kill.
    return min((float(lines[1].split("\t")[0]) for lines in tables if len(lines) > 1), default=0.2)
