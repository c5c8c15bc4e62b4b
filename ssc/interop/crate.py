"""A run as an RO-Crate, the form in which archives of research data exchange runs: the work of `ssc crate`.

A crate is laid out as a clone with its results, so that `ssc verify` reads the manifest in it. Tables, pictures,
benchmark files and the workflow are in it. Archives and weights, which may be large, are named with their SHA-256, and
so is what lies outside of the results.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ssc.interop.crate_metadata import METADATA, File, Times, metadata
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic, atomic_folder, file_digest, locate, read_table
from ssc.runtime.outputs import check_outputs, note_output
from ssc.workflow.job import check_file
from ssc.workflow.project import project_folder
from ssc.workflow.stage_table import STAGES
from ssc.workflow.verify import Run, check_unchanged

_COMMAND = "crate"
_WORKFLOW = ("Snakefile", "config.yaml", "config", "envs", "report", "rules", "workflow_scripts")
_NAMED = (".zip", ".safetensors")
_SOURCES = ("initial_weights", "data")  # of a manifest's stages those that the run goes out from
_REPORT = (
    "manifest.json", "metrics.tsv", "costs.tsv", "summary.txt", "comparison.tsv", "comparison.md", "verdict.json",
    "report.html",
)  # fmt: skip


class Summary(NamedTuple):
    """What was written.

    Attributes:
        files: number of files in the crate, its metadata among them.
        named: number of further files that are named with their SHA-256.
    """

    files: int
    named: int


def write_crate(
    run: str | Path, out: str | Path, *, who: str | None = None, license: str | None = None, force: bool = False
) -> Summary:
    """Write a run as an RO-Crate 1.1 by the profile Workflow Run Crate 0.5: see docs/proof.md.

    Args:
        run: folder of the run, results/<data set>/<experiment>, or its manifest.json.
        out: folder to make, absent or empty, or a `.zip` file; either appears when all is in it.
        who: name of who made the run; None names nobody.
        license: address of the results' licence, such as https://spdx.org/licenses/CC-BY-4.0; None states none.
        force: a `.zip` that this command has not written may be replaced.

    Raises:
        InputError: the output exists; the licence is no address; the run is not as its manifest says, or not finished;
            or the workflow that made it is not at hand.
    """
    out = Path(out)
    packed = out.suffix == ".zip"
    if packed:
        check_outputs([out], command=_COMMAND, force=force)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and is no empty folder; name another, or move it away.")
    if license and "://" not in license:
        raise InputError(f"--license: {license!r} is no address; name one, as https://spdx.org/licenses/CC-BY-4.0.")
    read = check_unchanged(run)
    benchmarks = _benchmarks(read)
    found = [
        _text("README.md", _guide(read).encode(), "guide", "what is in the crate, and how to check it"),
        *_workflow_files(read.manifest),
        *_sources_and_results(read),
        *_report_files(read),
        *(_file(path, read, "result", "time and memory of a job") for path in benchmarks),
    ]
    files = list({file.path: file for file in found}.values())  # weights may serve two stages
    graph = metadata(read, files, times=_times(files, benchmarks), who=who, license=license)
    inside = {file.path: file.source for file in files if file.inside}
    inside[METADATA] = (json.dumps(graph, indent=1, ensure_ascii=False) + "\n").encode()
    if packed:
        with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, source in inside.items():
                archive.writestr(path, source) if isinstance(source, bytes) else archive.write(source, path)
        note_output(out, command=_COMMAND)
    else:
        with atomic_folder(out.resolve()) as temporary:
            for path, source in inside.items():
                copy = temporary / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(source) if isinstance(source, bytes) else shutil.copy2(source, copy)
    return Summary(len(inside), len(files) + 1 - len(inside))


def _workflow_files(manifest: dict) -> Iterator[File]:
    """The workflow as the run had it: of its commit, but for changes that were not committed."""
    commit, folder = manifest["commit"], project_folder()
    if commit:
        command = ["git", "-C", str(folder), "archive", commit.removesuffix("-dirty"), *_WORKFLOW]
        try:
            packed = subprocess.run(command, capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            raise InputError(
                f"{folder} is no clone that has the commit {commit} of the run; fetch it, or call ssc in one that does."
            ) from None
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            found = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    elif manifest["ssc"] == version("ssc-wsss"):
        below = [path for part in _WORKFLOW for path in (folder / part, *sorted((folder / part).rglob("*")))]
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in below if path.is_file()}
    else:
        raise InputError(f"The run was made by ssc {manifest['ssc']}, and this is another; install that one.")
    for path, content in found.items():
        yield _text(path, content, "workflow", "of the workflow")


def _guide(run: Run) -> str:
    folder = f"results/{run.root.name}/{run.path.parent.name}"
    code = run.manifest["commit"] or run.manifest["ssc"]
    return (
        f"# A run of SSC: {run.root.name}/{run.manifest['experiment']}\n\n"
        f"Its figures are in `{folder}/metrics.tsv`, its report is `{folder}/report.html`. Weights and archives are\n"
        f"not here; `{METADATA}` names them with their SHA-256. With ssc {code}\n\n"
        f"    ssc verify {folder}\n    ssc run --config config.json   # in an empty folder\n\n"
        "says which files are those of the run, and makes it again.\n"
    )


def _sources_and_results(run: Run) -> Iterator[File]:
    """The files of the manifest, before them its configuration as a file for `--configfile`."""
    name = run.manifest["experiment"]
    config = {"experiment": name, "experiments": {name.partition("-seed")[0]: {}}, **run.manifest["config"]}
    yield _text("config.json", json.dumps(config, indent=1).encode(), "object", "the run's settings")
    for stage, files in run.manifest["files"].items():
        for name, digest in files.items():
            path, own = locate(run.root, name), not name.startswith(("/", ".."))
            yield File(
                path=os.path.normpath(Path("results", run.root.name, name)),
                source=path,
                digest=digest,
                size=path.stat().st_size,
                role="object" if stage in _SOURCES or not own else "result",
                about=f"of the stage {stage}",
                inside=own and path.suffix not in _NAMED,
            )


def _report_files(run: Run) -> Iterator[File]:
    folder = run.path.parent
    for path in [*(folder / name for name in _REPORT), *sorted(folder.glob("figures/*.png"))]:
        if not path.is_file():
            raise InputError(f"{path} does not exist; run snakemake to its end.")
        check_file(path)
        yield _file(path, run, "result", "of the report")


def _file(path: Path, run: Run, role: str, about: str) -> File:
    place = f"results/{run.root.name}/{path.relative_to(run.root).as_posix()}"
    return File(place, path, file_digest(path), path.stat().st_size, role, about)


def _text(path: str, content: bytes, role: str, about: str) -> File:
    return File(path, content, hashlib.sha256(content).hexdigest(), len(content), role, about)


def _benchmarks(run: Run) -> list[Path]:
    """Benchmark files of the jobs that have made the files of the manifest, those that are there."""
    made = [name for files in run.manifest["files"].values() for name in files]
    found = dict.fromkeys(run.root / benchmark for name in made if (benchmark := _benchmark(name)))
    return [path for path in found if path.is_file()]


def _benchmark(name: str) -> str | None:
    """The benchmark file of the job that has made a file; both are relative to results/<data set>."""
    for stage in STAGES.values():
        folder, _, own = ("", "", name) if stage.shared else name.partition("/")
        for rule in stage.rules:
            for output in rule.outputs.values():
                pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(output))
                if match := re.fullmatch(pattern, own):
                    job = rule.benchmark.format(**match.groupdict())
                    # The stage table leaves open which warm starts there are.
                    job += f"/{Path(own).stem}" if rule.name == "warm_start" else ""
                    return os.path.normpath(f"{folder or '.'}/benchmarks/{job}.tsv")
    return None


def _times(files: Sequence[File], benchmarks: Sequence[Path]) -> Times:
    """When the first of the run's jobs started, and when its last file was written, by the files' own times."""
    starts = [path.stat().st_mtime - float(read_table(path)["s"].iloc[0]) for path in benchmarks]
    last = max(file.source.stat().st_mtime for file in files if file.role == "result")
    return Times(_iso(min(starts)) if starts else None, _iso(last), _iso(datetime.now().timestamp()))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
