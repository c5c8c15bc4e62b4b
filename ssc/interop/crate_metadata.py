"""The metadata of a crate, as JSON-LD by RO-Crate 1.1 and the profiles for runs of workflows.

The profiles: Process Run Crate 0.5 and Workflow Run Crate 0.5 (https://www.researchobject.org/workflow-run-crate), and
Workflow RO-Crate 1.0. The metadata are a list of entities that refer to each other by `@id`, which needs no library.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple
from urllib.parse import quote

from ssc.workflow.verify import Run

METADATA = "ro-crate-metadata.json"
_CONTEXTS = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
_CRATE = "https://w3id.org/ro/crate/1.1"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_PARAMETER_PROFILE = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
_LICENSE = "https://spdx.org/licenses/MIT"  # of the workflow
_UNLICENSED = "No licence of the results is stated; the workflow's is MIT."
_FORMATS = {
    ".html": "text/html", ".json": "application/json", ".md": "text/markdown", ".png": "image/png",
    ".safetensors": "application/octet-stream", ".tsv": "text/tab-separated-values", ".yaml": "application/yaml",
    ".zip": "application/zip",
}  # fmt: skip

# Inputs and outputs of the workflow that are named: how the path of the file ends, and what it is.
_PARAMETERS = {
    "input": {
        "config": ("config.json", "settings, as --configfile takes them"),
        "photos": ("/index.tsv", "table of the photos with their splits and classes"),
    },
    "output": {
        "metrics": ("/metrics.tsv", "figures of all stages, in percent"),
        "verdict": ("/verdict.json", "what labels and results say of the run without masks"),
        "segmentation": ("/segmentation.safetensors", "weights of the segmentation network"),
    },
}


class File(NamedTuple):
    """A file that a crate holds or names.

    Attributes:
        path: in the crate, which is laid out as a clone with its results.
        source: the file, or its content.
        digest: SHA-256, hexadecimal.
        size: in bytes.
        role: whether it is of the workflow, the run went out from it, or came to it; `guide`: the README.md.
        about: what it is.
        inside: whether the crate holds it, or names it with its digest alone.
    """

    path: str
    source: Path | bytes
    digest: str
    size: int
    role: Literal["workflow", "object", "result", "guide"]
    about: str
    inside: bool = True

    @property
    def id(self) -> str:
        """Its `@id`: a path from the crate's root on, or a name within the metadata."""
        return ("" if self.inside else "#") + quote(self.path)


class Times(NamedTuple):
    """ISO 8601, in UTC, to the second: when a run started, None if not known, and finished, and its crate was made."""

    started: str | None
    finished: str
    crated: str


def metadata(run: Run, files: Sequence[File], *, times: Times, who: str | None, license: str | None) -> dict:
    """The content of ro-crate-metadata.json.

    Args:
        run: the run.
        files: those of the workflow, `Snakefile` among them, of the run and its report, `config.json` and `README.md`.
        times: of the run.
        who: name of who made the run; None names nobody.
        license: address of the results' licence; None says that none is stated.
    """
    manifest, folder = run.manifest, f"results/{run.root.name}/{run.path.parent.name}"
    name = f"{run.root.name}/{manifest['experiment']}"
    people = [{"@id": "#who", "@type": "Person", "name": who}] if who else []
    parameters = _parameters(files)
    workflow, action = _workflow(manifest, files, parameters), _action(name, manifest, files, times)
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Weakly supervised semantic segmentation: {name}",
        "description": f"A run of the workflow SSC on the data set {run.root.name}: figures of all stages, report, "
        f"manifest (in {folder}) and configuration. Archives and weights are named with their SHA-256.",
        "datePublished": times.crated,
        "license": {"@id": license} if license else _UNLICENSED,
        "conformsTo": _refer(_PROFILES),
        "mainEntity": {"@id": "Snakefile"},
        "mentions": {"@id": action["@id"]},
        "hasPart": _refer(file.id for file in files),
    }
    if who:
        root["author"] = action["agent"] = {"@id": "#who"}
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _refer([_CRATE, "https://w3id.org/workflowhub/workflow-ro-crate/1.0"]),
    }
    profiles = [
        {"@id": key, "@type": "CreativeWork", "name": name, "version": version}
        for key, (name, version) in _PROFILES.items()
    ]
    licenses = [{"@id": key, "@type": "CreativeWork", "name": key} for key in dict.fromkeys([_LICENSE, license]) if key]
    language = {
        "@id": _SNAKEMAKE,
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": {"@id": "https://snakemake.readthedocs.io"},
        "url": {"@id": "https://snakemake.readthedocs.io"},
        "version": manifest["packages"]["snakemake"],
    }
    examples = {parameter["workExample"]["@id"]: parameter["@id"] for parameter in parameters}
    entities = [_entity(file, examples.get(file.id)) for file in files if file.path != "Snakefile"]
    known = [descriptor, root, *profiles, *licenses, *people, workflow, language, action, *parameters, *entities]
    return {"@context": _CONTEXTS, "@graph": known}


def _workflow(manifest: dict, files: Sequence[File], parameters: Sequence[dict]) -> dict:
    (snakefile,) = (file for file in files if file.path == "Snakefile")
    commit, packages = manifest["commit"], manifest["packages"]
    changed = " The run was made with changes to it that were not committed." if "-dirty" in (commit or "") else ""
    return {
        **_entity(snakefile),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "SSC: weakly supervised semantic segmentation",
        "description": "From photos with image-level labels to pseudo-labels and a segmentation network, with spatial "
        f"structure constraints (https://doi.org/10.1109/TIP.2024.3359041).{changed}",
        "conformsTo": {"@id": _WORKFLOW_PROFILE},
        "license": {"@id": _LICENSE},
        "programmingLanguage": {"@id": _SNAKEMAKE},
        "version": commit or manifest["ssc"],
        "softwareRequirements": [
            f"ssc-wsss {manifest['ssc']}",
            f"python {manifest['python']}",
            *(f"{package} {version}" for package, version in packages.items()),
        ],
        "hasPart": _refer(file.id for file in files if file.role == "workflow" and file is not snakefile),
        **{way: _refer(each["@id"] for each in parameters if each["@id"].startswith(f"#{way}")) for way in _PARAMETERS},
    }


def _parameters(files: Sequence[File]) -> list[dict]:
    """What goes into the workflow and comes out of it, each with the file that stands for it in this run."""
    found = []
    for way, role in (("input", "object"), ("output", "result")):
        for name, (ending, about) in _PARAMETERS[way].items():
            file = next((file for file in files if file.role == role and file.path.endswith(ending)), None)
            if file:
                found.append(
                    {
                        "@id": f"#{way}-{name}",
                        "@type": "FormalParameter",
                        "name": name,
                        "description": about,
                        "additionalType": "File",
                        "conformsTo": {"@id": _PARAMETER_PROFILE},
                        "workExample": {"@id": file.id},
                    }
                )
    return found


def _action(name: str, manifest: dict, files: Sequence[File], times: Times) -> dict:
    device = manifest["cuda"] if manifest["device"].startswith("cuda") else manifest["device"]
    machine = f"{manifest['machine']}, {manifest['cores']} cores, {device}"
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Run {name}",
        "description": f"On {machine}, in {manifest['precision']}, with random seed {manifest['seed']}; the digest of "
        f"its configuration is {manifest['config_digest']}. What the stages took is in costs.tsv.",
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "instrument": {"@id": "Snakefile"},
        "endTime": times.finished,
        "object": _refer(file.id for file in files if file.role == "object"),
        "result": _refer(file.id for file in files if file.role == "result"),
    }
    return action | ({"startTime": times.started} if times.started else {})


def _entity(file: File, parameter: str | None = None) -> dict:
    suffix = PurePosixPath(file.path).suffix
    entity = {
        "@id": file.id,
        "@type": "File",
        "name": file.path,
        "description": file.about,
        "contentSize": str(file.size),
        "encodingFormat": _FORMATS.get(suffix, "text/plain"),
        "sha256": file.digest,
    }
    entity |= {"about": {"@id": "./"}} if file.role == "guide" else {}
    return entity | ({"exampleOfWork": {"@id": parameter}} if parameter else {})


def _refer(ids: Iterable[str]) -> list[dict]:
    return [{"@id": each} for each in ids]
