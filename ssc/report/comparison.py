"""A run beside the paper: the tables of its results, row by row, with ours in between."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssc.report.paper import Result, results
from ssc.runtime.files import read_json, write_text, write_tsv

OWN = "this run"

_PAPERS_DATA = {"voc": "voc12", "coco": "coco14"}  # by kind of data set
_DATA_NAMES = {"voc12": "VOC 2012", "coco14": "COCO 2014"}
_TITLES = {
    "II": "seeds and pseudo-labels, as far as the paper's text repeats them",
    "III": "segmentation with VGG16",
    "IV": "segmentation with ResNet and others",
    "V": "segmentation with VGG16",
    "VI": "segmentation with ResNet and others",
}
_SHORT = {"resnet50": "R50", "resnet101": "R101", "vgg16": "VGG16"}  # backbones as the paper writes them
_HEADER = [
    "table", "dataset", "method", "supervision", "backbone", "measure", "split", "images", "miou", "difference",
]  # fmt: skip


def write_comparison(
    *,
    figures: Mapping[str, str | Path],
    dataset: str,
    kind: str,
    backbones: Mapping[str, str],
    trained: Mapping[str, str | Path],
    table: str | Path,
    markdown: str | Path,
) -> None:
    """Write the paper's Tables II and III to VI with our numbers below the paper's own, as TSV and as Markdown.

    On VOC 2012 and COCO 2014 these are all rows of the tables of that data set, and our differences to the row `SSC`.
    On other data they are the rows `SSC` alone, without differences. Of III and IV, V and VI the first is taken for a
    segmentation network VGG16, else the second. Results of ours that no table has come last.

    Args:
        figures: by stage (`seeds`, `pseudo-labels`, `segmentation`), the JSON files of those that the run reports.
        dataset: its name.
        kind: its kind, `voc`, `coco` or another.
        backbones: names of the networks `classifier` and `segmentation`; none where the stage is not known.
        trained: by network, what is known of ready weights (`ssc.stages.check_weights.write_facts`), whose backbone counts.
        table: TSV to write, a row per number: mIoU and difference in percent.
        markdown: Markdown to write, a table per table.
    """
    facts = {stage: read_json(path)["parts"][stage]["options"]["backbone"] for stage, path in trained.items()}
    backbones = {**backbones, **facts}
    own = {(found["stage"], found["split"]): found for found in map(read_json, figures.values())}
    comparable = kind in _PAPERS_DATA
    rows = []
    for result in _paper(kind, backbones["segmentation"]):
        rows.append(_paper_row(result))
        if result.method == "SSC":
            found = own.get((result.measure, result.split))
            row = _own_row(result.measure, result.split, found, dataset, backbones)
            if comparable and row["miou"]:
                row["difference"] = f"{100 * found['miou'] - result.value:+.2f}"
            rows.append({**row, "table": result.table})
    reported = {(row["measure"], row["split"]) for row in rows}
    others = [
        _own_row(measure, split, found, dataset, backbones)
        for (measure, split), found in own.items()
        if (measure, split) not in reported
    ]
    write_tsv(table, _HEADER, rows + others)
    write_text(markdown, _markdown(rows, others, own, dataset, kind))


def _paper(kind: str, backbone: str) -> list[Result]:
    tables = ("II", "III", "V") if backbone == "vgg16" else ("II", "IV", "VI")
    rows = [result for result in results() if result.table in tables]
    if kind in _PAPERS_DATA:
        return [result for result in rows if result.dataset == _PAPERS_DATA[kind]]
    return [result for result in rows if result.method == "SSC"]


def _paper_row(result: Result) -> dict[str, str]:
    names = ("table", "dataset", "method", "supervision", "backbone", "measure", "split")
    return {**{name: getattr(result, name) for name in names}, "miou": f"{result.value:.1f}"}


def _own_row(
    measure: str, split: str, found: Mapping | None, dataset: str, backbones: Mapping[str, str]
) -> dict[str, str]:
    """Our row for a measure on a split; without mIoU where it was not measured there."""
    backbone = backbones.get("segmentation" if measure == "segmentation" else "classifier", "")
    row = {"dataset": dataset, "method": OWN, "supervision": "I", "backbone": _SHORT.get(backbone, backbone)}
    row |= {"table": "", "measure": measure, "split": split, "images": "", "miou": "", "difference": ""}
    if found and found["miou"] is not None:
        row |= {"images": str(found["images"]), "miou": f"{100 * found['miou']:.2f}"}
    return row


def _markdown(
    rows: Sequence[Mapping[str, str]],
    others: Sequence[Mapping[str, str]],
    own: Mapping[tuple[str, str], Mapping],
    dataset: str,
    kind: str,
) -> str:
    sections = []
    for name in dict.fromkeys(row["table"] for row in rows):
        part = [row for row in rows if row["table"] == name]
        data = _DATA_NAMES[part[0]["dataset"]]
        sections.append(f"## Table {name}: {data}, {_TITLES[name]}\n\n{_section(part)}")
    if others:
        sections.append(f"## Not in the paper's tables\n\n{_section(others)}")
    measured = [
        f"{measure} {'at their best threshold ' if measure == 'seeds' else ''}on {found['images']} images ({split})"
        for (measure, split), found in own.items()
        if found["miou"] is not None
    ]
    difference = "; in brackets the difference to the paper's SSC" if kind in _PAPERS_DATA else ""
    notes = [
        f"mIoU in percent{difference}. Supervision: I image labels, S saliency maps, O out-of-distribution images, "
        "L language.",
        f"This run: {', '.join(measured) or 'nothing was measured'}.",
    ]
    if kind == "voc":
        notes.append("Only VOC's server measures the test photos: `snakemake test_archive` packs their predictions.")
    if kind not in _PAPERS_DATA:
        notes.append(f"The paper's numbers are of other data than {dataset}: beside ours they are no yardstick.")
    text = "\n\n".join([f"# {dataset} beside the paper", "\n".join(notes), *sections])
    return f"{text}\n"


def _section(rows: Sequence[Mapping[str, str]]) -> str:
    """One line per method, one column per measure and split."""
    columns = list(dict.fromkeys((row["measure"], row["split"]) for row in rows))
    lines: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for row in rows:
        key = (f"**{OWN}**" if row["method"] == OWN else row["method"], row["supervision"], row["backbone"])
        difference = row.get("difference")
        cell = f"{row['miou']} ({difference})" if difference else row["miou"]
        lines.setdefault(key, {})[row["measure"], row["split"]] = cell
    table = [["method", "supervision", "backbone", *(f"{measure}, {split}" for measure, split in columns)]]
    table.append(["---"] * 3 + ["---:"] * len(columns))
    table += [[*key, *(cells.get(column, "") for column in columns)] for key, cells in lines.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)
