"""Where photos must lie for jobs that share no file system."""

from pathlib import Path

from ssc.runtime.errors import InputError

_PATHS = ("root", "sbd", "test_root", "train_images", "train_instances", "val_images", "val_instances")


def check_seen_everywhere(dataset: dict) -> None:
    """Check that jobs on other machines find the photos: by absolute paths, where the run itself puts none.

    Args:
        dataset: the section of the configuration.

    Raises:
        InputError: they would not.
    """
    told = [f"{key} is {dataset[key]!r}" for key in _PATHS if dataset.get(key) and not Path(dataset[key]).is_absolute()]
    told += ["kind is 'demo'"] if dataset["kind"] == "demo" else []
    told += [f"max_side is {dataset['max_side']}"] if dataset.get("max_side") else []
    if told:
        raise InputError(
            f"dataset.{told[0]}: jobs that share no file system see photos only where they lie before the run, under "
            "an absolute path that is the same for all; docs/cluster.md says how."
        )
