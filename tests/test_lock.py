"""requirements.lock against pyproject.toml, what the packages need in turn, and the conda environment."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def locked():
    """By requirement, as written, the hashes of its files."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", "")
    lines = [line.split(" --hash=") for line in text.splitlines() if not line.startswith("#")]
    return {requirement.strip(): [hash.strip() for hash in hashes] for requirement, *hashes in lines}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ranges():
    groups = project()["optional-dependencies"]
    return [
        Requirement(line)
        for line in [
            *project()["dependencies"],
            *(line for extra in ("workflow", "pretrained", "dev", "docs") for line in groups[extra]),
        ]
    ]


def needed(requirements):
    """(package, extra or "") that requirements need on this machine, by what the installed ones say of themselves."""
    found, waiting = set(), [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            step = canonicalize_name(requirement.name), wanted
            if step not in found:
                found.add(step)
                waiting += [(Requirement(line), wanted) for line in requires(requirement.name) or ()]
    return found


def test_every_requirement_is_one_version_with_hashes():
    assert len(locked()) > 50
    for line, hashes in locked().items():
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9, -]+\])?==[^ *]+( ; .+)?", line), line
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", hash) for hash in hashes), line
        assert len(set(hashes)) == len(hashes), line


def test_locked_versions_lie_in_the_ranges_of_the_project():
    pins = {Requirement(line).name: Requirement(line).specifier for line in locked()}
    for requirement in ranges():
        (pin,) = pins[canonicalize_name(requirement.name)]
        assert pin.version in requirement.specifier


def test_the_lock_holds_what_the_project_needs_and_nothing_else():
    """With the extras that packages ask of each other: an older pip passes over a lock line that does not name them,
    takes the newest version instead and refuses it for its missing hash, from the day on that there is a newer one."""
    requirements = map(Requirement, locked())
    here = [requirement for requirement in requirements if not requirement.marker or requirement.marker.evaluate()]
    assert {(one.name, extra) for one in here for extra in ("", *one.extras)} == needed(ranges())


def test_conda_environment_has_the_locked_versions():
    environment = yaml.safe_load((ROOT / "envs" / "ssc.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == list(locked())
