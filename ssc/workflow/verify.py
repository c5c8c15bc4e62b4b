"""Whether the files of a run are those of its manifest, and whether two runs came to the same results."""

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
from safetensors import safe_open

from ssc.interop.folders import cam_files, label_maps
from ssc.runtime.errors import InputError
from ssc.runtime.files import file_digest, locate, read_json
from ssc.workflow.compare import compare_cams, compare_labels
from ssc.workflow.job import check_file
from ssc.workflow.manifest import config_digest
from ssc.workflow.stage_table import STAGES

# Stages of a manifest whose files all experiments of a data set share; the others' lie in an experiment's folder.
_SHARED = {"initial_weights", *(name for name, stage in STAGES.items() if stage.shared)}
_NOT_VERSIONS = {"experiment", "seed", "config", "config_digest", "files"}
_NAMED = 3  # tensors or members that a message names


class Comparison(NamedTuple):
    """How two runs differ.

    Attributes:
        config: by dotted key of the configuration, the two values; None for an absent one.
        versions: likewise code, packages, machine and device.
        stages: by stage, in the order of the road, a phrase per result that differs; empty where all are the same.
    """

    config: dict[str, tuple[object, object]]
    versions: dict[str, tuple[object, object]]
    stages: dict[str, list[str]]


class Run(NamedTuple):
    """A run by its manifest.

    Attributes:
        root: results/<data set>, to which the paths of the manifest are relative.
        path: the manifest.
        manifest: what it holds.
    """

    root: Path
    path: Path
    manifest: dict


class _File(NamedTuple):
    path: Path
    digest: str


def check_run(run: str | Path) -> dict[str, str]:
    """Compare the files of a run with its manifest.

    Args:
        run: folder of the run, or its manifest.json.

    Returns:
        By path, as the manifest has it, `same`, `changed` or `missing`.

    Raises:
        InputError: there is no manifest, or one without files.
    """
    root, _, manifest = read_run(run)
    states = {}
    for path, digest in (item for files in manifest["files"].values() for item in files.items()):
        file = locate(root, path)
        states[path] = "missing" if not file.is_file() else "same" if file_digest(file) == digest else "changed"
    return states


def compare_runs(first: str | Path, second: str | Path) -> Comparison:
    """Compare two runs by their manifests, and by what is in the files that differ.

    Results are the same where the files are. Archives are, too, where they hold the same members, into however many
    shards they are cut; then the counts by shard are left out, which add up to the figures of their stage.

    Args:
        first: folder of a run, or its manifest.json.
        second: likewise.

    Raises:
        InputError: there is no manifest, or one without files.
    """
    runs = read_run(first), read_run(second)
    manifests = [run.manifest for run in runs]
    versions = [{key: value for key, value in own.items() if key not in _NOT_VERSIONS} for own in manifests]
    stages = dict.fromkeys([*manifests[0]["files"], *manifests[1]["files"]])
    return Comparison(
        config=_differences(*(manifest["config"] for manifest in manifests)),
        versions=_differences(*versions),
        stages={stage: _stage_differences(stage, *runs) for stage in stages},
    )


def check_unchanged(run: str | Path) -> Run:
    """The run, if its configuration and all its files, its table of figures among them, are as they were made.

    Args:
        run: folder of the run, or its manifest.json.

    Raises:
        InputError: there is no manifest, or one without files; a file is missing or changed, or the configuration in
            the manifest.
    """
    read = read_run(run)
    if read.manifest["config_digest"] != config_digest(read.manifest["config"]):
        raise InputError(f"{read.path}: config is not that of config_digest; delete the file and run snakemake again.")
    wrong = [f"{path} is {state}" for path, state in check_run(run).items() if state != "same"]
    if wrong:
        more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
        raise InputError(f"{read.path} tells of other files: {wrong[0]}{more}; run snakemake again.")
    table = read.path.with_name("metrics.tsv")
    if not table.is_file():
        raise InputError(f"{table} does not exist; run snakemake to its end.")
    check_file(table)
    return read


def read_run(run: str | Path) -> Run:
    """A run by its manifest.

    Raises:
        InputError: there is no manifest, or one without files.
    """
    path = Path(run) / "manifest.json" if Path(run).is_dir() else Path(run)
    manifest = read_json(path)
    if not manifest.get("files") or "config" not in manifest:
        raise InputError(f"{path} is no manifest that names the run's files; name another, or run snakemake again.")
    path = locate(Path.cwd(), path)
    return Run(path.parents[1], path, manifest)


def _differences(first: Mapping, second: Mapping) -> dict[str, tuple[object, object]]:
    ours, theirs = _flat(first), _flat(second)
    keys = dict.fromkeys([*ours, *theirs])
    return {key: (ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)}


def _flat(settings: Mapping, prefix: str = "") -> dict[str, object]:
    flat = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _stage_differences(stage: str, first: Run, second: Run) -> list[str]:
    ours, theirs = _results(stage, first), _results(stage, second)
    found = []
    for name in dict.fromkeys([*ours, *theirs]):
        if name in ours and name in theirs:
            found.append(_difference(name, ours[name], theirs[name]))
        else:
            found.append(f"{name} is in the {'first' if name in ours else 'second'} run only")
    return [phrase for phrase in found if phrase]


def _results(stage: str, run: Run) -> dict[str, dict[str, _File]]:
    """By name of a result, its files by their names; those of all shards are one result, with `*` for the shard.

    Names do not hold the experiment, in whose folder the files may lie.
    """
    results = {}
    for path, digest in run.manifest["files"].get(stage, {}).items():
        of_experiment = stage not in _SHARED and not path.startswith(("/", ".."))
        name = path.partition("/")[2] if of_experiment else path
        result = re.sub(r"[0-9]+-of-[0-9]+(\.[a-z]+)$", r"*\1", name)
        results.setdefault(result, {})[name] = _File(locate(run.root, path), digest)
    return results


def _difference(result: str, ours: dict[str, _File], theirs: dict[str, _File]) -> str | None:
    """A phrase that says how a result differs between two runs, given its files by name; None where it is the same."""
    first, second = ({name: file.digest for name, file in files.items()} for files in (ours, theirs))
    if first == second:
        return None
    files = [*ours.values(), *theirs.values()]
    there = all(file.path.is_file() and file_digest(file.path) == file.digest for file in files)
    kind = Path(result).suffix
    if kind in (".zip", ".safetensors") and not there:
        return f"{result} differs; what is in it cannot be compared, since files are missing or changed by now"
    if kind == ".zip":
        return _member_difference(result, *([file.path for file in files.values()] for files in (ours, theirs)))
    if kind == ".safetensors":
        return _tensor_difference(result, *(file.path for file in files))
    return f"{result} differs" if set(first) == set(second) else None


def _member_difference(result: str, ours: list[Path], theirs: list[Path]) -> str | None:
    """The phrase for archives: their members that differ, and how far the maps in these agree."""
    first, second = _checksums(ours), _checksums(theirs)
    names = sorted(first.keys() | second.keys())
    different = [name for name in names if first.get(name) != second.get(name)]
    if not different:
        return None
    told = f"{result}: {len(different)} of {len(names)} members differ ({_some(different)})"
    ids = {str(PurePosixPath(name).with_suffix("")) for name in different}
    are_cams = different[0].endswith(".npz")
    read = cam_files if are_cams else label_maps
    maps = [{name: own for name, own in read(*paths).items() if name in ids} for paths in (ours, theirs)]
    try:
        found = compare_cams(result, *maps) if are_cams else compare_labels(result, *maps, classes=False)
    except InputError as error:
        return f"{told}; {error}"
    return f"{told}; {found.told()}" if found.images else told


def _checksums(archives: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Checksum and size of each member of some archives, by name."""
    members = {}
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            members |= {member.filename: (member.CRC, member.file_size) for member in archive.infolist()}
    return members


def _tensor_difference(result: str, ours: Path, theirs: Path) -> str:
    with safe_open(ours, framework="pt") as first, safe_open(theirs, framework="pt") as second:
        names, others = list(first.keys()), set(second.keys())
        if alone := sorted(others ^ set(names)):
            return f"{result}: tensors are in one run only ({_some(alone)})"
        largest = {}
        for name in names:
            own, other = first.get_tensor(name), second.get_tensor(name)
            if own.shape != other.shape or own.dtype != other.dtype:
                return f"{result}: {name} has another shape or type"
            if not torch.equal(own, other):
                largest[name] = (own.double() - other.double()).abs().max().item()
    if not largest:
        return f"{result}: the tensors are the same, but not what its header says of them"
    most = max(largest.values())
    return f"{result}: {len(largest)} of {len(names)} tensors differ, by {most:.3g} at most ({_some(list(largest))})"


def _some(names: list[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])
