"""Files that repeat what the code says: `python docs/generate.py` writes them, `--check` says which differ."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from ssc.runtime.files import write_text
from ssc.workflow.section import Section
from ssc.workflow.settings import Experiment, Settings
from ssc.workflow.stage_table import graph, sharded_rules

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


def texts() -> Iterator[tuple[Path, str]]:
    """Each generated file and what it should hold; of some files a part alone is generated."""
    yield ROOT / "config" / "schema.json", json.dumps(json_schema(), indent=2) + "\n"
    yield ROOT / "docs" / "config.md", key_table()
    yield _with(ROOT / "README.md", r"(?<=```mermaid\n).*?(?=```)", graph())
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
        "Every key with its default, which is the paper's setting on VOC 2012; [R] marks what only the authors' "
        "released code states. A configuration file states the differences, and an experiment may set "
        f"{', '.join(f'`{key}`' for key in Experiment.model_fields)} for itself.",
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
