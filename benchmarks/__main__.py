"""All benchmarks, or those named, each in a process of its own; then one table of what has been measured so far.

    python -m benchmarks [ROW ...] [--quick] [--write-docs]

Writes `results/benchmarks/<row>.json` and `benchmarks.json` with all rows. Ends with status 0 whatever the verdicts:
nothing depends on a machine's speed.
"""

import argparse
import subprocess
import sys

from benchmarks.harness import ROOT, machine_text, markdown_table, row_file, table
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, write_json, write_text

ROWS = (
    "random_walk",
    "alignment_loss",
    "classifier_step",
    "dense_crf",
    "superpixels",
    "miou",
    "demo",
    "index_scale",
    "irn_losses",
    "loader",
    "memory",
    "scaling_images",
    "scaling_pixels",
)
DOCS = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"


def measure(rows: list[str], *, quick: bool) -> list[str]:
    """Run rows one after the other; the names of those that ended with an error."""
    failed = []
    for row in rows:
        command = [sys.executable, "-m", f"benchmarks.{row}", *(["--quick"] if quick else [])]
        row_file(row, quick=quick).unlink(missing_ok=True)
        print(f"... {row}", flush=True)
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(row)
    return failed


def collected(*, quick: bool) -> list[dict]:
    """The rows measured so far, in the order of `ROWS`."""
    files = [row_file(row, quick=quick) for row in ROWS]
    return [read_json(file) for file in files if file.exists()]


def write_docs(records: list[dict]) -> None:
    """Put the table and the machine between the markers of docs/benchmarks.md.

    Raises:
        InputError: nothing was measured, the rows come from several machines, or the page has no markers.
    """
    machines = {machine_text(record["machine"]) for record in records}
    if len(machines) != 1:
        raise InputError(f"The rows come from {len(machines)} machines or environments; run them all again on one.")
    page = DOCS.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise InputError(f"{DOCS} lacks the lines {BEGIN} and {END}; restore them.")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    (machine,) = machines
    write_text(DOCS, f"{before}{BEGIN}\n\n{machine}\n\n{markdown_table(records)}\n\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ours against reference formulations.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small inputs, nothing is judged")
    parser.add_argument(
        "--write-docs", action="store_true", help="write what was measured before into docs/benchmarks.md"
    )
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if options.write_docs:
        try:
            write_docs(collected(quick=False))
        except InputError as error:
            sys.exit(f"Error: {error}")
        return
    failed = measure(options.rows or list(ROWS), quick=options.quick)
    records = collected(quick=options.quick)
    write_json(row_file("benchmarks", quick=options.quick), {"rows": records})
    print("\n" + table(records))
    for row in failed:
        print(f"\n{row}: FAIL, it ended with an error; python -m benchmarks.{row} shows it")


if __name__ == "__main__":
    main()
