"""What a result comes from: digests of code and files, and the identity that follows from them."""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent


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


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def result_identity(module: str, values: dict, files: Iterable[str | Path | None] = ()) -> str:
    """Digest of all that determines a result: what has been made under the same identity need not be made again.

    Args:
        module: the module of `ssc` that makes it; its code counts, see `source_digest`.
        values: JSON values, such as settings and seed.
        files: files that count by their content; None stands for one that is not used.

    Returns:
        16 hexadecimal digits.
    """
    digests = [path if path is None else file_digest(path) for path in files]
    text = json.dumps([source_digest(module), values, digests], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(module: str) -> Path:
    path = _ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return name.split(".")[0] == "ssc" and _file(name).exists()


@cache
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


@cache
def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body.pop(0)
    return ast.dump(tree)
