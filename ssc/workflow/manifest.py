"""The manifest of a run: what its results came from, and the files that they consist of."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ssc.runtime.device import select_device, select_precision
from ssc.runtime.files import file_digest, write_json
from ssc.workflow.project import project_folder

# Those that results may depend on.
_PACKAGES = (
    "torch",
    "timm",
    "numpy",
    "scipy",
    "pillow",
    "numba",
    "pandas",
    "pycocotools",
    "safetensors",
    "snakemake",
)


def write_manifest(path: str | Path, *, config: dict, experiment: str, files: Mapping[str, Iterable[str]]) -> None:
    """Write the manifest of a run as JSON; `ssc.workflow.verify` reads it.

    It holds the versions of code and packages, the machine, the device and precision that `auto` stands for on it, the
    configuration (seeds and threads among it) with its digest, and the SHA-256 of the files by stage. Their paths are
    relative to results/<data set>/, or absolute where the configuration names them so.

    Args:
        path: JSON file to write, results/<data set>/<experiment>/manifest.json.
        config: settings of the experiment that a result depends on.
        experiment: its name.
        files: by stage, in the order of the road, the files that the results come from.
    """
    # A named device need not be there where nothing is computed.
    device = select_device("auto") if config["device"] == "auto" else torch.device(config["device"])
    manifest = {
        "experiment": experiment,
        "ssc": _version("ssc-wsss"),
        "commit": _commit(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": str(device),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "precision": select_precision(config["precision"], device),
        "seed": config["seed"],
        "config_digest": config_digest(config),
        "config": config,
        "files": {stage: _digests(paths, Path(path).parents[1]) for stage, paths in files.items()},
    }
    write_json(path, manifest)


def config_digest(config: dict) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def _digests(paths: Iterable[str], root: Path) -> dict[str, str]:
    """SHA-256 by path; one that is not absolute is made relative to `root`."""
    return {file if Path(file).is_absolute() else os.path.relpath(file, root): file_digest(file) for file in paths}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the clone, marked `-dirty` with uncommitted changes outside of results/; None without one."""
    folder = project_folder()
    if not (folder / ".git").exists():  # an installed package may lie in a clone of something else
        return None

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
