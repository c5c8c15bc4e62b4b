"""The register of results: what runs came to, a line of JSON each, for others to check theirs against."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssc.runtime.errors import InputError, refuse
from ssc.runtime.files import file_digest, read_table, read_text, write_text
from ssc.workflow.manifest import config_digest
from ssc.workflow.verify import Run, check_unchanged

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # SHA-256
Percent = Annotated[float, Field(ge=0, le=100)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Machine(_Record):
    """What a run was computed on."""

    system: str
    cores: int
    device: str
    cuda: str | None
    precision: str
    python: str
    packages: dict[str, str | None]


class Figures(_Record):
    """A row of metrics.tsv that has a mIoU; the shares are in percent, `miou` of the classes with background."""

    stage: str
    split: str
    images: int | None = None
    miou: Percent
    over_activation: Percent | None = None
    under_activation: Percent | None = None
    chosen_by_masks: str | None = None


class Entry(_Record):
    """A line of the register: a run, and what it came to.

    Attributes:
        name: <data set>/<experiment>.
        date: day on which its manifest was written (UTC).
        who: who made the run.
        commit: of the code, marked `-dirty` with uncommitted changes; None where it was installed without a clone.
        ssc: version of the package.
        machine: what it was computed on.
        seed: random seed.
        config_digest: of `config`, see `ssc.workflow.manifest.config_digest`.
        config: the settings that its results depend on.
        metrics: its figures, in the order of the road.
        weights: SHA-256 of its weight files, those it started from among them, by `<stage>/<file name>`.
        manifest: SHA-256 of its manifest.json.
    """

    name: str
    date: date
    who: Annotated[str, Field(min_length=1)]
    commit: str | None
    ssc: str | None
    machine: Machine
    seed: int
    config_digest: str
    config: dict
    metrics: Annotated[list[Figures], Field(min_length=1)]
    weights: dict[str, Digest]
    manifest: Digest


class Difference(NamedTuple):
    """How a run differs from an entry of the same configuration.

    Attributes:
        entry: the entry.
        metrics: by `<stage> (<split>)` and figure, the entry's and the run's in percent; None for an absent one.
        weights: names of the weight files whose checksums differ, or that one of them lacks.
        machine: by key, the commit and the packages' versions among them, the two values.
    """

    entry: Entry
    metrics: dict[str, tuple[float | None, float | None]]
    weights: list[str]
    machine: dict[str, tuple[object, object]]


def read_register(path: str | Path) -> list[Entry]:
    """Read a register, and check that each line is complete and agrees with itself.

    Raises:
        InputError: the file cannot be read, or lines have faults, which are told all at once: no JSON; a key that is
            missing, unknown or of another type; no data set in the configuration; a digest or seed that is not the
            configuration's; a line that repeats another.
    """
    entries, faults = {}, []
    for number, line in enumerate(_lines(path), 1):
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            faults.append(f"line {number}: {f'{key}: ' if key else ''}{first['msg']}")
            continue
        if not isinstance(entry.config.get("dataset"), dict):
            faults.append(f"line {number}: config has no dataset; take the whole line that `ssc register` wrote")
        elif entry.config_digest != config_digest(entry.config):
            faults.append(f"line {number}: config_digest is not that of config; one of them was changed by hand")
        if entry.seed != entry.config.get("seed"):
            faults.append(f"line {number}: seed is not that of config; one of them was changed by hand")
        if (earlier := entries.setdefault(_identity(entry), (number, entry)))[0] != number:
            faults.append(f"line {number}: the run of line {earlier[0]}; delete one of the two")
    refuse(path, faults)
    return [entry for _, entry in entries.values()]


def register_run(run: str | Path, register: str | Path, *, who: str) -> Entry:
    """Add a run to a register, which is made where there is none.

    Args:
        run: folder of the run, or its manifest.json.
        register: file to add a line to.
        who: name of who made the run.

    Returns:
        The new entry.

    Raises:
        InputError: the run is not as its manifest says, not finished, or without figures; the register has faults, or
            has the run; nobody is named.
    """
    if not who.strip():
        raise InputError("--who is empty; name who made the run.")
    register = Path(register)
    entry = _entry(check_unchanged(run), who=who)
    earlier = read_register(register) if register.exists() else []
    if any(_identity(other) == _identity(entry) for other in earlier):
        raise InputError(f"{register} has this run of {who} already; nothing is to be added.")
    lines = _lines(register) if earlier else []
    write_text(register, "\n".join([*lines, json.dumps(entry.model_dump(mode="json"), ensure_ascii=False), ""]))
    return entry


def compare_with_register(register: str | Path, run: str | Path) -> list[Difference]:
    """Compare a run with the entries of its configuration, in their order; where the photos lie, `device` and `shards`
    may differ.

    Args:
        register: the register.
        run: folder of the run, or its manifest.json.

    Raises:
        InputError: the register has faults, or no such entry; the run is not as its manifest says, or not finished.
    """
    entries = read_register(register)
    own = _entry(check_unchanged(run), who="you")
    found = [_difference(entry, own) for entry in entries if _method(entry.config) == _method(own.config)]
    if not found:
        known = ", ".join(dict.fromkeys(f"{entry.name} ({entry.config_digest})" for entry in entries))
        raise InputError(
            f"{register} has no entry of the configuration of {run} ({own.config_digest}), only of {known or 'none'}; "
            "run with the config of one of them."
        )
    return found


def _lines(register: str | Path) -> list[str]:
    text = read_text(register, what="The register").removesuffix("\n")
    return text.split("\n") if text else []  # other line separators of Unicode may stand in names


def _entry(run: Run, *, who: str) -> Entry:
    manifest, table = run.manifest, run.path.with_name("metrics.tsv")
    figures = read_table(table)
    rows = figures[figures["miou"].notna()].reindex(columns=[*Figures.model_fields]).to_dict("records")
    if not rows:
        raise InputError(f"{table} has no mIoU to register, since no mask was there; give the data set some.")
    weights = {
        f"{stage}/{Path(path).name}": digest
        for stage, files in manifest["files"].items()
        for path, digest in files.items()
        if path.endswith(".safetensors")
    }
    return Entry(
        name=f"{run.root.name}/{manifest['experiment']}",
        date=datetime.fromtimestamp(run.path.stat().st_mtime, UTC).date(),
        who=who,
        commit=manifest["commit"],
        ssc=manifest["ssc"],
        machine=Machine(
            system=manifest["machine"],
            **{key: manifest[key] for key in ("cores", "device", "cuda", "precision", "python", "packages")},
        ),
        seed=manifest["config"]["seed"],
        config_digest=manifest["config_digest"],
        config=manifest["config"],
        # The cells of the table are text.
        metrics=[Figures.model_validate_strings({k: v for k, v in row.items() if isinstance(v, str)}) for row in rows],
        weights=weights,
        manifest=file_digest(run.path),
    )


def _method(config: dict) -> dict:
    """A configuration without what is another matter on each machine: paths of the data set, `device`, `shards`."""
    data = config["dataset"]
    places = {key: "given" for key, value in data.items() if isinstance(value, str) and key not in ("name", "kind")}
    return {key: value for key, value in config.items() if key not in ("device", "shards")} | {"dataset": data | places}


def _identity(entry: Entry) -> tuple[str, str]:
    """What no two lines have in common; the manifests of two people may be equal to the letter."""
    return entry.manifest, entry.who


def _difference(entry: Entry, own: Entry) -> Difference:
    weights = sorted(entry.weights.keys() | own.weights.keys())
    return Difference(
        entry=entry,
        metrics=_unequal(_shares(entry), _shares(own)),
        weights=[name for name in weights if entry.weights.get(name) != own.weights.get(name)],
        machine=_unequal(_circumstances(entry), _circumstances(own)),
    )


def _shares(entry: Entry) -> dict[str, float]:
    return {
        f"{row.stage} ({row.split}) {name}": value
        for row in entry.metrics
        for name in ("miou", "over_activation", "under_activation")
        if (value := getattr(row, name)) is not None
    }


def _circumstances(entry: Entry) -> dict[str, object]:
    machine = entry.machine.model_dump()
    packages = machine.pop("packages")
    return {"commit": entry.commit, "ssc": entry.ssc, **machine, **packages}


def _unequal(first: Mapping, second: Mapping) -> dict[str, tuple]:
    keys = dict.fromkeys([*first, *second])
    return {key: (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)}
