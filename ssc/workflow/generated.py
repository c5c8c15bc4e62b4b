"""Files that repeat what the code says: `python -m ssc.workflow.generated` writes them, `--check` compares."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ssc.runtime.files import write_text
from ssc.workflow.config import json_schema, key_table
from ssc.workflow.stage_table import graph, sharded_rules

ROOT = Path(__file__).parents[2]


def texts() -> Iterator[tuple[Path, str]]:
    """Each generated file and what it should hold; of some files a part alone is generated."""
    yield ROOT / "config" / "schema.json", json.dumps(json_schema(), indent=2) + "\n"
    yield ROOT / "docs" / "config.md", key_table()
    yield _with(ROOT / "README.md", r"(?<=```mermaid\n).*?(?=```)", graph())
    yield _with(ROOT / "profiles/slurm/config.yaml", r"(?<=\nslurm-array-jobs: ).*?(?=\n)", ", ".join(sharded_rules()))


def _with(path: Path, pattern: str, part: str) -> tuple[Path, str]:
    text = path.read_text(encoding="utf-8")
    return path, re.sub(pattern, lambda _: part, text, count=1, flags=re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` name those that differ; the exit status, 1 if any does."""
    differing = [(path, text) for path, text in texts() if not path.exists() or path.read_text("utf-8") != text]
    for path, text in differing:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not what the code says; run: python -m ssc.workflow.generated")
        else:
            write_text(path, text)
    return int("--check" in arguments and bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
