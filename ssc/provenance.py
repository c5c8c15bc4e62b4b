"""What a result came from: digests of the code behind it, and the manifest of a run."""

import ast
import hashlib
import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ssc.files import write_json

_ROOT = Path(__file__).parent
_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "numba", "scikit-image", "scipy", "snakemake")


@cache
def source_digest(module: str) -> str:
    """Digest of a module of `ssc` and of all modules of `ssc` that it imports, directly or not.

    Comments, docstrings and layout do not count: the digest changes when the code does.

    Args:
        module: dotted name, such as `ssc.cams`.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(import_closure(module)):
        digest.update(f"{name}\n{_code(_file(name))}\n".encode())
    return digest.hexdigest()[:16]


def import_closure(module: str) -> set[str]:
    """Names of the modules of `ssc` that `module` needs, itself included.

    Importing `ssc.a.b` counts `ssc.a.b` and not the package `ssc.a`, whose other modules it does not use.
    """
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imports(_file(name))
    return found


def write_manifest(path: str | Path, *, config: dict, experiment: str) -> None:
    """Write package versions, platform, git commit, the configuration and its digest as JSON."""
    payload = json.dumps(config, sort_keys=True)
    manifest = {
        "experiment": experiment,
        "ssc": _version("ssc"),
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cuda": _cuda_device(),
        "commit": _commit(),
        "seed": config["seed"],
        "config_digest": hashlib.sha256(payload.encode()).hexdigest()[:16],
        "config": config,
    }
    write_json(path, manifest)


def _file(module: str) -> Path:
    path = _ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return name.split(".")[0] == "ssc" and _file(name).exists()


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.append(inner if _is_module(inner) else node.module)
    return [name for name in names if _is_module(name)]


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body.pop(0)
    return ast.dump(tree)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the working tree, marked `-dirty` with uncommitted changes; None outside of git."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cuda_device() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
