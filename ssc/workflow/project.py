"""Where the workflow lies, and the Snakemake that runs it: `ssc run`."""

import os
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ssc.runtime.errors import InputError, Parser

_PACKAGE = Path(__file__).parents[1]
# Options of Snakemake that say where jobs run; -c and --cores, which say how many, stand above the default.
_PLACES = re.compile(r"--(jobs|executor|profile|workflow-profile)(=|$)|-[a-zA-Z]*[je]")


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
        InputError: Snakemake is not installed, a configuration file does not exist, or another Snakefile is named.
    """
    if not find_spec("snakemake"):
        raise InputError("Snakemake is not installed here; pip install 'ssc-wsss[workflow]'.")
    parser = Parser(prog="ssc run", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-C", "--configfile", "--configfiles", nargs="+", action="extend", default=[])
    parser.add_argument("--snakefile", "-s")
    own, rest = parser.parse_known_args(arguments)
    if own.snakefile:
        raise InputError("ssc run takes this project's Snakefile; call snakemake itself for another.")
    values = [word for word in own.config if "=" in word and not Path(word).is_file()]
    files = [str(_configuration(word)) for word in own.config if word not in values]
    # Not -m alone, which would import what lies in the folder of the call before what is installed.
    command = [sys.executable, "-P", "-m", "snakemake"]
    command += ["--configfile", *files] if files else []
    command += ["--config", *values] if values else []
    command += ["--snakefile", str(project_folder() / "Snakefile")]
    placed = "SNAKEMAKE_PROFILE" in os.environ or any(map(_PLACES.match, rest))
    # Before the rest, whose own number of cores then counts.
    return [*command, *([] if placed else ["--cores", "all"]), *rest]


def _configuration(name: str) -> Path:
    shipped = project_folder() / "config"
    places = [Path(name), shipped / name, shipped / f"{name}.yaml"]
    if found := next((place for place in places if place.is_file()), None):
        return found
    known = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml") if path.stem != "experiments"))
    raise InputError(
        f"The configuration {name} does not exist; correct the path, or take one of ours ({known}). Targets go before "
        "--config."
    )
