"""What the benchmarks share: interleaved timing, peak memory, a row's figures, the table, JSON.

A row is a module with a function `measure(*, quick)` that returns a `Row`, and a call of `run`. With `quick` the
inputs are small: the row shows that it runs, and nothing is judged.
"""

import argparse
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "benchmarks"
LINEAR = 1.1  # exponent up to which a cost counts as linear
FLOOR = 8_000_000  # bytes; less memory is not told apart, since allocators take theirs in steps

_PACKAGES = ("torch", "torchvision", "numpy", "numba", "scipy", "scikit-image", "torchmetrics", "pydensecrf2")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Figure:
    """One value of a row, and the limit that it is held to.

    Attributes:
        what: what was measured.
        value: the result, such as a ratio.
        unit: of the value.
        at_most, at_least: limits; a figure without any is reported and not judged.
        parts: what the value was made of, by name, in `parts_unit`.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    parts: Mapping[str, float] | None = None
    parts_unit: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the limits are kept; None without limits."""
        if self.at_most is None and self.at_least is None:
            return None
        high, low = self.at_most, self.at_least
        return bool((high is None or self.value <= high) and (low is None or self.value >= low))


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        name: the module's name.
        what: the inputs and what is compared, in one line.
        figures: what was found; empty where the row cannot run.
        note: what the reader must know, such as why the row cannot run.
    """

    name: str
    what: str
    figures: Sequence[Figure] = ()
    note: str = ""


def interleaved(
    functions: Mapping[str, Callable[[], Any]], *, rounds: int, calls: Mapping[str, int] | None = None
) -> tuple[dict[str, float], dict[str, Any]]:
    """Median wall seconds and last result of each function, by name.

    In each of the rounds every function has its turn, so that a slow spell of the machine meets all of them. Whatever
    is done once, such as compiling, must have been done before.

    Args:
        functions: by name.
        rounds: turns of each function.
        calls: calls in one turn, by name; one where absent.
    """
    seconds = {name: [] for name in functions}
    results = {}
    for _ in range(rounds):
        for name, function in functions.items():
            for _ in range((calls or {}).get(name, 1)):
                results.pop(name, None)  # lest two results be held at once
                start = time.perf_counter()
                results[name] = function()
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}, results


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """What `function(*arguments)` returns in a process of its own that imports it anew; all must be picklable."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_memory(function: Callable[[], Any]) -> tuple[int, int]:
    """Most resident bytes of this process while `function` runs, and its resident bytes before.

    From Linux's own count for the process, which is set back first. (`ru_maxrss` would be no less than what the parent
    of a fresh process ever held.)

    Raises:
        InputError: this is no Linux.
    """
    if not _STATUS.exists():
        raise InputError("The memory of a process is read from /proc/self/status; run this benchmark on Linux.")
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
    function()
    return _resident("VmHWM"), before


def _resident(name: str) -> int:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of the straight line through log(cost) over log(size), to three digits: 1 where a cost is linear."""
    return round(float(np.polyfit(np.log(sizes), np.log(costs), 1)[0]), 3)


def scaling_figures(what: str, sizes: Sequence[float], costs: Sequence[tuple[float, int]]) -> list[Figure]:
    """Fitted exponents of a cost's seconds and bytes, held to a linear growth.

    Args:
        what: what costs.
        sizes: ascending; the first is 1x.
        costs: seconds and bytes at each size. Less than `FLOOR` bytes count as `FLOOR` in the fit.
    """
    seconds, memory = zip(*costs, strict=True)
    figures = []
    for name, unit, values, floor in (
        ("time", "s", seconds, 0),
        ("memory", "MB", [value / 1e6 for value in memory], FLOOR / 1e6),
    ):
        parts = {f"{size / sizes[0]:.2g}x": value for size, value in zip(sizes, values, strict=True)}
        fitted = exponent(sizes, [max(floor, value) for value in values])
        figures.append(Figure(f"{what}: exponent of {name}", fitted, at_most=LINEAR, parts=parts, parts_unit=unit))
    return figures


def run(measure: Callable[..., Row], *, photos: str | None = None) -> None:
    """Command line of a row: measure, write its JSON, print its table.

    Args:
        measure: function of `quick`, and of `photos`, a folder or None, if that is given.
        photos: help on the folder of photos; None for rows that take none.
    """
    parser = argparse.ArgumentParser(description=measure.__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs, nothing is judged")
    if photos:
        parser.add_argument("photos", nargs="?", type=Path, help=photos)
    options = vars(parser.parse_args())
    try:
        row = measure(**options)
    except InputError as error:
        sys.exit(f"Error: {error}")
    record = row_record(row, quick=options["quick"])
    write_json(row_file(row.name, quick=options["quick"]), record)
    print(table([record]), flush=True)


def row_file(name: str, *, quick: bool) -> Path:
    """Where a row's JSON lies; quick ones apart, so that they are never taken for others."""
    return (RESULTS / "quick" if quick else RESULTS) / f"{name}.json"


def row_record(row: Row, *, quick: bool) -> dict:
    """A row as JSON values, with its verdicts and the machine; a quick row is not judged."""
    figures = [{**asdict(figure), "passed": None if quick else figure.passed} for figure in row.figures]
    judged = [figure["passed"] for figure in figures if figure["passed"] is not None]
    return {
        "row": row.name,
        "what": row.what,
        "passed": all(judged) if judged else None,
        "note": row.note,
        "figures": figures,
        "machine": machine(),
    }


def table(records: Sequence[Mapping]) -> str:
    """Rows of `row_record` as text: each row's verdict and what it compares, then a line per figure, then its note."""
    text = []
    for record in records:
        lines = [_cells(figure) for figure in record["figures"]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text += ["", f"{record['row']}: {_verdict(record['passed'])}", f"  {record['what']}"]
        for line in lines:
            padded = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
            text.append("    " + "  ".join(padded).rstrip())
        if record["note"]:
            text.append(f"  {record['note']}")
    return "\n".join(text[1:])


def markdown_table(records: Sequence[Mapping]) -> str:
    """What `table` says, in Markdown."""
    text = ["| row | measured | of | result | limit | |", "|---|---|---|---:|---|---|"]
    for record in records:
        what = ". ".join(filter(None, [record["what"], record["note"]]))
        text.append(f"| **{record['row']}** | {what} | | | | **{_verdict(record['passed'])}** |")
        text += ["| | " + " | ".join(_cells(figure)) + " |" for figure in record["figures"]]
    return "\n".join(text)


def _cells(figure: Mapping) -> tuple[str, ...]:
    """A figure's name, parts, result, limit and verdict as text."""
    parts = ", ".join(f"{name} {number(part)}" for name, part in (figure["parts"] or {}).items())
    limits = [("<=", figure["at_most"]), (">=", figure["at_least"])]
    return (
        figure["what"],
        f"{parts} {figure['parts_unit']}".strip(),
        f"{number(figure['value'])} {figure['unit']}".strip(),
        ", ".join(f"{sign} {number(limit)}" for sign, limit in limits if limit is not None),
        _verdict(figure["passed"]),
    )


def _verdict(passed: bool | None) -> str:
    return {True: "PASS", False: "FAIL", None: "-"}[passed]


def number(value: float) -> str:
    """Four significant digits; whole from 1000 on."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def machine() -> dict:
    """Facts about the machine and the versions that the times depend on."""
    import torch  # not by all rows, whose processes are measured

    cpu = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def machine_text(facts: Mapping) -> str:
    """The machine in two sentences."""
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items() if found)
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}, "
        f"{facts['torch_threads']} torch threads. Python {facts['python']}, {packages}."
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
