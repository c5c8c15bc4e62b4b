"""The whole workflow through a Slurm of one node, a training of which is cancelled once."""

import subprocess
import time

from tests.faults.harness import Campaign, Outcome, differences, end, results, traceback_in
from tests.faults.slurm_node import queue, slurm_node, why_not

# Without accounting the queue itself tells how a job ended.
HERE = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5")


def slurm(campaign: Campaign) -> Outcome:
    """Run the workflow through the queue; a cancelled training must be submitted again and come to the same bytes."""
    outcome = Outcome("Slurm")
    if reason := why_not():
        outcome.skipped = f"no Slurm here: {reason}"
        return outcome
    try:
        with slurm_node() as environment:
            _run(campaign, outcome, environment)
    except RuntimeError as error:
        outcome.skipped = str(error)
    return outcome


def _run(campaign: Campaign, outcome: Outcome, environment: dict[str, str]) -> None:
    place = campaign.place("queued")
    output = campaign.folder / "queued.log"
    profile = str(place.project / "profiles" / "slurm")
    call = place.start(output, "--profile", profile, *HERE, environment=environment)
    outcome.count("runs")
    while call.poll() is None:
        time.sleep(0.3)
        running = [job["id"] for job in queue(environment, states="running") if "train_" in job["comment"]]
        if running and "cancelled jobs" not in outcome.counts:
            subprocess.run(["scancel", running[0]], env=environment, check=True)
            outcome.count("cancelled jobs")
    if not end(call) or call.returncode or traceback_in(output.read_text()):
        outcome.lost.append(f"the run through the queue failed: {output.read_text()[-1500:]}")
    outcome.stale += [
        f"{phrase} in the run through the queue" for phrase in differences(results(place.folder), campaign.expected)
    ]
