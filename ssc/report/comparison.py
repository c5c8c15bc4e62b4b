"""A run beside the paper: the tables of its results, row by row, with ours in between."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ssc.report.paper import results
from ssc.report.text import as_text, to_markdown
from ssc.runtime.files import read_json, write_table, write_text

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
_COLUMNS = [
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
        trained: by network, what is known of ready weights (`ssc.stages.check_weights.write_facts`), whose backbone
            counts.
        table: TSV to write, a row per number: mIoU and difference in percent.
        markdown: Markdown to write, a table per table.
    """
    facts = {stage: read_json(path)["parts"][stage]["options"]["backbone"] for stage, path in trained.items()}
    backbones = {**backbones, **facts}
    found = list(map(read_json, figures.values()))
    own = pd.DataFrame(found, columns=["stage", "split", "images", "miou"])
    own = own.rename(columns={"stage": "measure"}).astype({"miou": float})
    own["miou"] *= 100
    paper = _paper(kind, backbones["segmentation"])
    ours = paper[paper["method"] == "SSC"].reset_index()
    ours = ours.merge(own, on=["measure", "split"], how="left").set_index("index")
    if kind in _PAPERS_DATA:
        ours["difference"] = ours["miou"] - ours["value"]
    reported = pd.MultiIndex.from_frame(paper[["measure", "split"]])
    others = own[~pd.MultiIndex.from_frame(own[["measure", "split"]]).isin(reported)]
    ours, others = (_as_own_rows(rows, dataset=dataset, backbones=backbones) for rows in (ours, others))
    paper = as_text(paper.rename(columns={"value": "miou"}), {"miou": ".1f"})
    rows = pd.concat([paper, ours]).sort_index(kind="stable")  # ours below the row that they are compared with
    rows, others = (part.reindex(columns=_COLUMNS, fill_value="").fillna("") for part in (rows, others))
    write_table(table, pd.concat([rows, others]))
    selected = any(each.get("chosen_by_masks") == "epoch" for each in found)
    write_text(markdown, _markdown(rows, others, own.dropna(subset="miou"), dataset, kind, selected=selected))


def _paper(kind: str, backbone: str) -> pd.DataFrame:
    """The rows of the paper's results that a run is compared with."""
    rows = results()
    rows = rows[rows["table"].isin(["II", "III", "V"] if backbone == "vgg16" else ["II", "IV", "VI"])]
    if kind in _PAPERS_DATA:
        return rows[rows["dataset"] == _PAPERS_DATA[kind]]
    return rows[rows["method"] == "SSC"]


def _as_own_rows(rows: pd.DataFrame, *, dataset: str, backbones: Mapping[str, str]) -> pd.DataFrame:
    """Our rows as text, for measures on splits; without mIoU where it was not measured there."""
    short = {network: _SHORT.get(name, name) for network, name in backbones.items()}
    networks = rows["measure"].where(rows["measure"] == "segmentation", "classifier")
    rows = rows.assign(dataset=dataset, method=OWN, supervision="I", backbone=networks.map(short))
    rows["images"] = rows["images"].where(rows["miou"].notna())
    formats = {"images": ".0f", "miou": ".2f", "difference": "+.2f"}
    return as_text(rows, {name: form for name, form in formats.items() if name in rows})


def _markdown(
    rows: pd.DataFrame, others: pd.DataFrame, measured: pd.DataFrame, dataset: str, kind: str, *, selected: bool
) -> str:
    sections = [
        f"## Table {name}: {_DATA_NAMES[part['dataset'].iloc[0]]}, {_TITLES[name]}\n\n{_section(part)}"
        for name, part in rows.groupby("table", sort=False)
    ]
    if len(others):
        sections.append(f"## Not in the paper's tables\n\n{_section(others)}")
    best = {"seeds": " at their best threshold"}
    told = [f"{m.measure}{best.get(m.measure, '')} on {m.images} images ({m.split})" for m in measured.itertuples()]
    difference = "; in brackets the difference to the paper's SSC" if kind in _PAPERS_DATA else ""
    notes = [
        f"mIoU in percent{difference}. Supervision: I image labels, S saliency maps, O out-of-distribution images, "
        "L language.",
        f"This run: {', '.join(told) or 'nothing was measured'}.",
    ]
    if selected:
        notes.append("The epoch of the segmentation's training was selected on val masks.")
    if kind == "voc":
        notes.append("Only VOC's server measures the test photos: `snakemake test_archive` packs their predictions.")
    if kind not in _PAPERS_DATA:
        notes.append(f"The paper's numbers are of other data than {dataset}: beside ours they are no yardstick.")
    text = "\n\n".join([f"# {dataset} beside the paper", "\n".join(notes), *sections])
    return f"{text}\n"


def _section(rows: pd.DataFrame) -> str:
    """One line per method, one column per measure and split."""
    difference = rows["difference"]
    rows = rows.assign(
        method=rows["method"].replace(OWN, f"**{OWN}**"),
        column=rows["measure"] + ", " + rows["split"],
        cell=rows["miou"] + (" (" + difference + ")").where(difference != "", ""),
    )
    keys = ["method", "supervision", "backbone"]
    cells = rows.pivot(index=keys, columns="column", values="cell").fillna("").reset_index()
    table = rows[keys].drop_duplicates().merge(cells, on=keys)  # in the order of the rows
    return to_markdown(table[[*keys, *rows["column"].unique()]], words=len(keys))
