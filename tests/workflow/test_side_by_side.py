"""Two configurations at once in one folder, as docs/cluster.md says it: data sets of different names do not meet."""

import time

import yaml

from tests.faults.snakemake import PATIENCE, TINY, Place


def start(folder, name):
    """Start the masks of a few scenes under a name of their own."""
    config = yaml.safe_load(TINY.read_text())
    config["dataset"] |= {"name": name, "train": 4, "val": 2}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    targets = [f"results/{name}/masks/train/{number}-of-2.zip" for number in (1, 2)]
    place = Place(folder, configfile=folder / f"{name}.yaml", cores=1)
    return place, targets, place.start(folder / f"{name}.txt", *targets)


def test_two_data_sets_are_made_at_once_in_one_folder(tmp_path):
    runs, locks = {}, tmp_path / ".snakemake" / "locks"
    for name in ("one", "two"):
        runs[name] = start(tmp_path, name)
        end = time.monotonic() + PATIENCE
        while len(list(locks.glob("*.output.lock"))) < len(runs) and time.monotonic() < end:
            assert runs["one"][2].poll() is None, (tmp_path / "one.txt").read_text()
            time.sleep(0.05)
    for name, (_, _, call) in runs.items():
        assert call.wait(PATIENCE) == 0, (tmp_path / f"{name}.txt").read_text()
    for place, targets, _ in runs.values():
        assert all((tmp_path / target).exists() for target in targets)
        assert "Nothing to be done" in place.succeed(*targets)
