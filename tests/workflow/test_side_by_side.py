"""Two configurations at once in one folder, as docs/cluster.md says it: data sets of different names do not meet."""

import os
import signal

import yaml

from tests.faults.harness import wait_until
from tests.faults.snakemake import PATIENCE, TINY, Place


def start(folder, name):
    """Start the masks of a few scenes under a name of their own; wait until the call holds its lock."""
    config = yaml.safe_load(TINY.read_text())
    config["dataset"] |= {"name": name, "train": 4, "val": 2}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    targets = [f"results/{name}/masks/train/{number}-of-2.zip" for number in (1, 2)]
    place = Place(folder, configfile=folder / f"{name}.yaml", cores=1)
    log, locks = folder / f"{name}.txt", folder / ".snakemake" / "locks"

    def locked():
        return len(list(locks.glob("*.output.lock")))

    before = locked()
    call = place.start(log, *targets)
    assert wait_until(lambda: locked() > before, call), log.read_text()
    return place, targets, call


def test_two_data_sets_are_made_at_once_in_one_folder(tmp_path):
    one = start(tmp_path, "one")
    os.killpg(one[2].pid, signal.SIGSTOP)  # so that it does not end before the other has begun
    try:
        two = start(tmp_path, "two")
    finally:
        os.killpg(one[2].pid, signal.SIGCONT)
    for place, targets, call in (one, two):
        assert call.wait(PATIENCE) == 0, place.configfile.with_suffix(".txt").read_text()
        assert all((tmp_path / target).exists() for target in targets)
    for place, targets, _ in (one, two):
        assert "Nothing to be done" in place.succeed(*targets)
