"""Where the workflow lies, and the Snakemake that runs it: `ssc run`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ssc.runtime.errors import InputError

_PACKAGE = Path(__file__).parents[1]
# Options of Snakemake that say where jobs run, or how many.
_PLACES = {"--cores", "--jobs", "--executor", "--profile", "--workflow-profile"}
_SHORT_PLACES = ("-c", "-j", "-e")


def project_folder() -> Path:
    """The folder of the Snakefile: of a clone, or what an installed package carries of one."""
    carried = _PACKAGE / "project"
    return carried if carried.exists() else _PACKAGE.parent


def snakemake_command(arguments: Sequence[str]) -> list[str]:
    """The call of Snakemake on this project, for the folder that it is called in.

    Args:
        arguments: those of Snakemake; `--config` also takes configuration files, of which those in the project's folder
            config are known by their names (`folder` or `folder.yaml`). All cores are taken unless they say otherwise.

    Raises:
        InputError: Snakemake is not installed, or a configuration file does not exist.
    """
    if not find_spec("snakemake"):
        raise InputError("Snakemake is not installed here; pip install 'ssc-wsss[workflow]'.")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-C", nargs="+", action="extend", default=[])
    own, rest = parser.parse_known_args(arguments)
    files = [str(_configuration(word)) for word in own.config if "=" not in word]
    values = [word for word in own.config if "=" in word]
    command = [sys.executable, "-m", "snakemake", *rest, "--snakefile", str(project_folder() / "Snakefile")]
    placed = any(word.partition("=")[0] in _PLACES or word.startswith(_SHORT_PLACES) for word in rest)
    command += [] if placed else ["--cores", "all"]
    command += ["--configfile", *files] if files else []
    return command + (["--config", *values] if values else [])


def _configuration(name: str) -> Path:
    shipped = project_folder() / "config"
    places = [Path(name), shipped / name, shipped / f"{name}.yaml"]
    if found := next((place for place in places if place.is_file()), None):
        return found
    known = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml") if path.stem != "experiments"))
    raise InputError(f"The configuration {name} does not exist; correct the path, or take one of ours: {known}.")
