"""Files that repeat what the code says: `python docs/generate.py` writes them, `--check` says which differ."""

import argparse
import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from ssc.cli import _parser
from ssc.runtime.files import write_text
from ssc.workflow.section import Section
from ssc.workflow.settings import Experiment, Settings
from ssc.workflow.stage_table import STAGES, sharded_rules

ROOT = Path(__file__).parents[1]

# By keyword and type of JSON schema, the words of docs/config.md.
_LIMITS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
}
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true, false",
    "null": "null",
    "array": "list",
    "object": "by name",
}

# What docs/api.md describes: names that other programs may call.
_API = {
    "A trained network": ("ssc.load", "ssc.segmenter.Segmenter", "ssc.segmenter.Segmentation"),
    "Networks": (
        "ssc.models.CAMClassifier",
        "ssc.models.DiscriminativeRegionSuppression",
        "ssc.models.ReconstructionNet",
        "ssc.models.IRN",
        "ssc.models.DeepLabV2",
    ),
    "Superpixels and losses": (
        "ssc.superpixels.superpixels",
        "ssc.losses.PerceptualLoss",
        "ssc.losses.decoder_image",
        "ssc.losses.alignment_loss",
        "ssc.affinity.irn_losses",
    ),
    "From maps to labels": (
        "ssc.cams.multi_scale_cams",
        "ssc.pseudo_labels.edge_map",
        "ssc.affinity.random_walk",
        "ssc.pseudo_labels.confidence_mask",
        "ssc.prediction.fuse",
        "ssc.crf.refine_labels",
        "ssc.crf.refine_probabilities",
        "ssc.crf.DenseCRF",
    ),
    "Evaluation and files": (
        "ssc.metrics.ConfusionMatrix",
        "ssc.archive.Archive",
        "ssc.archive.write",
        "ssc.archive.ArchiveWriter",
        "ssc.workflow.provenance.source_digest",
    ),
}


def texts() -> Iterator[tuple[Path, str]]:
    """Each generated file and what it should hold; of some files a part alone is generated."""
    yield ROOT / "config" / "schema.json", json.dumps(json_schema(), indent=2) + "\n"
    yield ROOT / "docs" / "config.md", key_table()
    yield ROOT / "docs" / "api.md", api()
    yield ROOT / "docs" / "stages.svg", stage_graph()
    yield _with(ROOT / "profiles/slurm/config.yaml", r"(?<=\nslurm-array-jobs: ).*?(?=\n)", ", ".join(sharded_rules()))


def _with(path: Path, pattern: str, part: str) -> tuple[Path, str]:
    text = path.read_text(encoding="utf-8")
    return path, re.sub(pattern, lambda _: part, text, count=1, flags=re.DOTALL)


class _FileSchema(GenerateJsonSchema):
    """Schema of one configuration file: others complete it, so that no key is required in it."""

    def field_is_required(self, *args, **kwargs) -> bool:
        return False

    def field_title_should_be_set(self, schema) -> bool:
        return False

    def default_schema(self, schema):
        """The default of a section is that of its keys."""
        if isinstance(schema.get("default"), BaseModel):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def json_schema() -> dict:
    """JSON schema (draft 2020-12) of a configuration file, with descriptions and defaults, as editors read it."""
    models = [(model, "validation") for model in (Settings, Experiment)]
    _, schema = models_json_schema(models, schema_generator=_FileSchema)
    experiments = schema["$defs"]["Settings"]["properties"]["experiments"]
    experiments["patternProperties"] = {
        pattern: {"$ref": "#/$defs/Experiment"} for pattern in experiments["patternProperties"]
    }
    return {"$schema": GenerateJsonSchema.schema_dialect, "$ref": "#/$defs/Settings", **schema}


def key_table() -> str:
    """The reference of all keys as Markdown: a table per section with default, values and meaning."""
    lines = [
        "# Configuration",
        "",
        "Every key with its default: the paper's setting on VOC 2012, or what measured best (`preset: paper` sets "
        "those too); [R] marks what only the authors' released code states. A configuration file states the "
        f"differences; an experiment may set {', '.join(f'`{key}`' for key in Experiment.model_fields)} for itself.",
        "",
        "This page is generated: change ssc/workflow/settings.py, then run `python docs/generate.py`.",
    ]
    for heading, section in _sections(Settings):
        rules = section.model_json_schema(schema_generator=_FileSchema)["properties"]
        rows = [_row(key, rule) for key, rule in rules.items() if "$ref" not in json.dumps(rule)]
        lines += ["", f"## {_escaped(heading)}", "", _escaped(section.__doc__)]
        lines += ["", "| key | default | values | meaning |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _sections(section: type[Section], place: str = "") -> Iterator[tuple[str, type[Section]]]:
    """A section and those in it, each with its dotted place."""
    kind = section.model_fields.get("kind")
    yield f"{place or 'Top level'}{f', kind {get_args(kind.annotation)[0]}' if kind else ''}", section
    for key, field in section.model_fields.items():
        inner = ".".join(
            [*([place] if place else []), key, *(["<name>"] if get_origin(field.annotation) is dict else [])]
        )
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Section):
                yield from _sections(part, inner)


def _row(key: str, rule: dict) -> str:
    default = rule.get("default", "")
    default = f"`{default if isinstance(default, str) else json.dumps(default)}`" if "default" in rule else "needed"
    return f"| `{key}` | {default} | {_values(rule)} | {_escaped(rule['description'])} |"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("<", "\\<")


def _values(rule: dict) -> str:
    """In words, what a rule of a JSON schema lets pass."""
    if "anyOf" in rule:
        return " or ".join(map(_values, rule["anyOf"]))
    if choices := rule.get("enum", [rule["const"]] if "const" in rule else None):
        return ", ".join(f"`{choice}`" for choice in choices)
    limits = [f"{sign} {rule[limit]:,}" for limit, sign in _LIMITS.items() if limit in rule]
    words = f"{_TYPES[rule['type']]} {', '.join(limits)}".strip()
    return f"{words} of {_values(rule['items'])}" if "items" in rule else words


def api() -> str:
    """The reference of the Python interface and of the command line as Markdown, from docstrings and help texts."""
    lines = [
        "# Python and the command line",
        "",
        "What other programs may call: NumPy arrays in and out, but for tensors where it says so. Labels: 0 is "
        "background, 1..C are the classes, 255 is none. All else may change; where it is: "
        "[architecture.md](architecture.md). On a finished run: the notebook [python.ipynb](python.ipynb).",
        "",
        "This page is generated: change the docstrings, then run `python docs/generate.py`.",
    ]
    for heading, names in _API.items():
        lines += ["", f"## {heading}"]
        for name in names:
            lines += ["", f"### {name}", "", *_described(_found(name))]
    lines += ["", "## The command line", "", "`ssc <command> --help` says more.", "", "| command | |", "|---|---|"]
    for action in _parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            lines += [f"| `ssc {each.dest}` | {_escaped(each.help)} |" for each in action._choices_actions]
    return "\n".join(lines) + "\n"


def _found(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def _described(thing: object) -> list[str]:
    """Signature, as it is written, and docstring; of a class those of its documented methods, too."""
    source = textwrap.dedent(inspect.getsource(thing))
    own = ast.parse(source).body[0]
    if isinstance(own, ast.FunctionDef):
        return _entry(own, source)
    parts = {part.name: part for part in own.body if isinstance(part, ast.FunctionDef)}
    head = _head(parts["__init__"], source) if "__init__" in parts else f"class {own.name}:"
    lines = [
        "```python",
        head.replace("def __init__", f"class {own.name}"),
        "```",
        "",
        *_markdown(inspect.getdoc(thing)),
    ]
    for name, part in parts.items():
        if not name.startswith("_") and ast.get_docstring(part):
            lines += ["", *_entry(part, source)]
    return lines


def _entry(function: ast.FunctionDef, source: str) -> list[str]:
    return ["```python", _head(function, source), "```", "", *_markdown(ast.get_docstring(function))]


def _head(function: ast.FunctionDef, source: str) -> str:
    first = min(part.lineno for part in (function, *function.decorator_list))
    lines = source.splitlines()[first - 1 : function.body[0].lineno - 1]
    return re.sub(r"self(,\s*)?", "", textwrap.dedent("\n".join(lines)), count=1)


def _markdown(docstring: str) -> list[str]:
    """A docstring of Google's style, with lists for its sections."""
    lines, listed = [], False
    for line in re.sub("(`[^`]*`)|<", lambda found: found[1] or "\\<", docstring).splitlines():
        if heading := re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields):", line):
            lines += [f"**{heading[1].replace('Args', 'Arguments')}**", ""]
            listed = heading[1] not in ("Returns", "Yields")
        elif listed and (entry := re.fullmatch(r"    (\w+): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(f"  {line.strip()}" if listed and line else line.strip())
    return lines


def stage_graph() -> str:
    """The stages as a drawing, SVG: each below all that it reads."""
    depth, rows, lines = {}, {}, []
    for name, stage in STAGES.items():
        depth[name] = 1 + max((depth[source] for source in stage.reads), default=-1)
        rows.setdefault(depth[name], []).append(name)
    for name, stage in STAGES.items():
        for source in stage.reads:
            # A line takes a place in each row that it passes, as a stage does; the lines from a stage share theirs.
            passed = [(source, row) for row in range(depth[source] + 1, depth[name])]
            for place in passed:
                if place not in rows[place[1]]:
                    rows[place[1]].append(place)
            lines += pairwise([source, *passed, name])
    across = {}
    for _, row in sorted(rows.items()):
        row.sort(key=lambda place: fmean([across[start] for start, end in lines if end == place] or [0]))
        widths = [140 if place in STAGES else 40 for place in row]
        for number, place in enumerate(row):
            across[place] = 280 + sum(widths[:number]) + (widths[number] - sum(widths)) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 {60 * len(rows)}" font-family="sans-serif" '
        'font-size="13" text-anchor="middle">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#607d8b"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for start, end in dict.fromkeys(lines):
        top, bottom = (60 * (depth[place] if place in STAGES else place[1]) for place in (start, end))
        x, y, top, bottom = across[start], across[end], top + 38, bottom + 9
        last = ' marker-end="url(#tip)"' if end in STAGES else ""
        further = "" if last else f"V{bottom + 29}"
        parts.append(
            f'<path d="M{x:g} {top}C{x:g} {top + 18} {y:g} {bottom - 18} {y:g} {bottom}{further}" fill="none" '
            f'stroke="#607d8b"{last}/>'
        )
    for name in STAGES:
        x, y = across[name], 60 * depth[name]
        parts.append(
            f'<rect x="{x - 60:g}" y="{y + 10}" width="120" height="28" rx="5" fill="#eceff1" stroke="#607d8b"/>'
            f'<text x="{x:g}" y="{y + 28}">{name.replace("_", " ")}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` name those that differ; the exit status, 1 if any does."""
    differing = [(path, text) for path, text in texts() if not path.exists() or path.read_text("utf-8") != text]
    for path, text in differing:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not what the code says; run: python docs/generate.py")
        else:
            write_text(path, text)
    return int("--check" in arguments and bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
