"""What a result comes from: digests of the code that can change its numbers, of settings and of files.

The code of a stage is found by reading the sources, without importing them. All that its module defines at the top
level counts, and from there every function, class and constant of `ssc` that is referred to, by name or by a text such
as "ssc.models.backbones:VGG16Backbone", directly or not; with a module's first, the statements that its import runs.
Of a table (`ssc.constants.Registry`) only the entries count that the settings name. Everything in `ssc.workflow`,
`ssc.cli` and `ssc.runtime`, but for `device` and `distributed`, changes no number and is not followed. Comments,
docstrings, layout, order of definitions and imports, texts of errors, log lines and texts that functions get which do
not count (the title of a progress bar) are left out, and annotations, but for the classes whose methods they bring in.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ssc.runtime.files import file_digest
from ssc.workflow.settings import Section, Settings

_ROOT = Path(__file__).parents[1]
_NOT_COUNTED = re.compile(r"ssc\.(workflow|cli|runtime(?!\.(device|distributed)\b))\b")
_REFERENCE = re.compile(r"ssc(\.\w+)*:\w+")
_LOG = "ssc.runtime.progress:log"
_HEADER_LIMIT = 100_000_000  # bytes, as the format has it


def source_digest(module: str, *sections: Section | Iterable[str]) -> str:
    """Digest of the code that can change what a module of `ssc` computes, 16 hexadecimal digits.

    Args:
        module: dotted name, such as `ssc.stages.cams`.
        sections: settings, or names, that choose among the entries of tables; the default settings where none is given.

    Raises:
        FileNotFoundError: there is no such module.
    """
    defaults = (field.default for field in Settings.model_fields.values())
    sections = sections or tuple(value for value in defaults if isinstance(value, Section))
    words = (section.words() if isinstance(section, Section) else section for section in sections)
    return _digest(module, frozenset().union(*words))


def fingerprint(
    module: str,
    settings: Section | None = None,
    values: Mapping = {},
    *,
    files: Iterable[str | Path | None] = (),
    words: Iterable[str] = (),
) -> str:
    """Digest of all that determines a result: what was made under the same fingerprint need not be made again.

    Args:
        module: the module of `ssc` that makes it; its code counts, see `source_digest`.
        settings: the section of the configuration that it depends on; what `decisive` leaves out does not count.
        values: other JSON values, such as the seed.
        files: files that count by their content, see `content_digest`; None stands for one that is not used.
        words: names besides those in `settings` that choose among the entries of tables.
    """
    code = source_digest(module, settings.words() if settings else (), words)
    digests = [path if path is None else content_digest(path) for path in files]
    return _short([code, settings.decisive() if settings else None, dict(values), digests])


def content_digest(path: str | Path) -> str:
    """Digest of a file's content, hexadecimal; of weights without the names of the classes, which change no number."""
    if Path(path).suffix != ".safetensors":
        return file_digest(path)
    with Path(path).open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        try:
            header = json.loads(handle.read(min(length, _HEADER_LIMIT)))
            own = json.loads(header["__metadata__"].pop("ssc"))
            del own["facts"]["classes"]
        except (ValueError, LookupError, TypeError, AttributeError):  # another's, or damaged, as its reader will say
            return file_digest(path)
        tensors = hashlib.file_digest(handle, "sha256").hexdigest()
    return hashlib.sha256(json.dumps([header, own, tensors], sort_keys=True).encode()).hexdigest()


def counted_code(module: str, words: Iterable[str] = ()) -> dict[str, str]:
    """The code behind `source_digest`, normalised, by `<module>:<name>`; two of them tell why their digests differ."""
    words, found = frozenset(words), {}
    waiting = [f"{module}:*"]
    while waiting:
        reference = waiting.pop()
        if reference in found or _NOT_COUNTED.match(reference):
            continue
        owner, name = reference.split(":")
        definitions = _module(owner).definitions
        if name not in definitions:  # the whole module
            found[reference] = ""
            waiting += [f"{owner}:{each}" for each in definitions]
            continue
        codes = [_code(owner, node) for node in _chosen(definitions[name], words)]
        found[reference] = "\n".join(text for text, _ in codes if text)
        waiting += [f"{owner}:", *(target for _, references in codes for target in references)]
    return {reference: text for reference, text in sorted(found.items()) if text}


def clear_caches() -> None:
    """Let the sources be read anew."""
    for function in (_digest, _module, _locate, _code):
        function.cache_clear()


@cache
def _digest(module: str, words: frozenset[str]) -> str:
    return _short(counted_code(module, words))


def _short(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class _Module(NamedTuple):
    """What each name of a module's top level is imported from (dotted), or defined by; "" has the other statements."""

    imports: dict[str, str]
    definitions: dict[str, list[ast.stmt]]


@cache
def _module(name: str) -> _Module:
    nodes = ast.parse(_file(name).read_text(encoding="utf-8")).body
    imports = _imports(node for node in nodes if not hasattr(node, "name"))
    definitions = {"": []}
    for node in nodes:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"):
            for own in _defined(node) or [""]:
                definitions.setdefault(own, []).append(node)
    if "_MODULES" in definitions:  # names that are imported late, see `ssc.models`
        modules = ast.literal_eval(definitions["_MODULES"][0].value)
        imports |= {own: f"{name}.{module}.{own}" for own, module in modules.items()}
    return _Module(imports, definitions)


def _file(module: str) -> Path:
    path = _ROOT.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _defined(node: ast.stmt) -> list[str]:
    """Names that a statement defines; what is below an `if`, `try`, `with` or loop is part of that statement."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    parts = (part for target in targets for part in ast.walk(target))
    return [part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def _imports(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """Dotted names that all imports below `nodes` give to names."""
    found = {}
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            pairs = ((alias.asname, alias.name) for alias in node.names)
            found |= dict((own, name) if own else (name.split(".")[0],) * 2 for own, name in pairs)
    return found


@cache
def _locate(dotted: str) -> str | None:
    """`<module>:<name>` of a dotted name of `ssc`, `<module>:*` of a module; others as they are. None: an attribute."""
    module, *rest = dotted.split(".")
    if module != "ssc":
        return dotted
    for position, name in enumerate(rest, start=1):
        imports, definitions = _module(module)
        if name in definitions or not (name in imports or _file(f"{module}.{name}").exists()):
            return f"{module}:{name}" if position == len(rest) else None
        if not _file(f"{module}.{name}").exists():
            return _locate(".".join([imports[name], *rest[position:]]))
        module = f"{module}.{name}"
    return f"{module}:*"


def _chosen(nodes: Iterable[ast.stmt], words: frozenset[str]) -> Iterator[ast.AST]:
    """The nodes that count: the given ones, or of a table keys and values of the entries that `words` name."""
    for node in nodes:
        table = isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).startswith("Registry[")
        if not (table and isinstance(node.value, ast.Dict)):
            yield node
            continue
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            if not isinstance(key, ast.Constant) or key.value in words:
                yield from filter(None, (key, value))


@cache
def _code(module: str, node: ast.AST) -> tuple[str, set[str]]:
    """Normalised text of a node, and the definitions of `ssc` that it refers to."""
    reader = _Reader(module, node)
    node = reader.visit(node)
    return ast.unparse(node) if node else "", {name for name in reader.references if ":" in name}


class _Reader(ast.NodeTransformer):
    """Normalises a node of a module: drops what does not count, and puts what names refer to in their place."""

    def __init__(self, module: str, node: ast.AST):
        imports, self._definitions = _module(module)
        self._module, self._imports, self.references = module, imports | _imports([node]), set()

    def _target(self, node: ast.AST) -> str | None:
        rest = []
        while isinstance(node, ast.Attribute):
            rest.insert(0, node.attr)
            node = node.value
        name = getattr(node, "id", None)
        if name in self._imports:
            return _locate(".".join([self._imports[name], *rest]))
        return f"{self._module}:{name}" if name in self._definitions and not rest else None

    def visit_Name(self, node: ast.Name | ast.Attribute) -> ast.AST:
        target = self._target(node)
        if target is None or _NOT_COUNTED.match(target):
            return self.generic_visit(node) if target is None else node
        self.references.add(target)
        return ast.Name(target)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and _REFERENCE.fullmatch(node.value):
            self.references.add(_locate(node.value.replace(":", ".")) or "")
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        logs = isinstance(called, ast.Attribute) and self._target(called.value) == _LOG
        return None if logs or isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _NOT_COUNTED.match(self._target(node.func) or ""):
            node.args = [value for value in node.args if not _is_text(value)]
            node.keywords = [keyword for keyword in node.keywords if not _is_text(keyword.value)]
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        node.exc, node.cause = getattr(node.exc, "func", node.exc), None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign | ast.arg) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)  # an assignment stays annotated: in a class it makes a field
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Dropped: it counts where its names are used."""

    visit_Attribute, visit_arg, visit_AsyncFunctionDef, visit_ImportFrom = (
        visit_Name, visit_AnnAssign, visit_FunctionDef, visit_Import,
    )  # fmt: skip


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
