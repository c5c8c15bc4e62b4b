"""The report as one page for the browser: verdict, numbers, stages, tables, curves and a gallery of all photos.

`page.html.j2` beside this module holds its text, style and script. It refers to nothing outside of its folder.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from ssc.archive import Archive
from ssc.constants import IGNORE
from ssc.data.index import Index, Row, read_index
from ssc.data.photos import read_image
from ssc.data.transforms import resize_image, resize_labels
from ssc.report.comparison import OWN
from ssc.report.pictures import IGNORE_COLOUR, PALETTE, css_colour
from ssc.report.sheets import cams_column, overlay_column, superpixels_column
from ssc.report.thumbnails import PHOTOS_PER_FILE, Source, fit, webp, write_thumbnails
from ssc.runtime.files import atomic_folder, name_in_errors, read_json, read_table, write_text
from ssc.runtime.progress import told_time

_INLINE = 20_000_000  # bytes of thumbnails up to which the page holds them itself
_EXAMPLE_SIDE = 480  # of the pictures that show the stages, in pixels
_COLUMNS = {  # what is drawn over a photo, by kind of archive, in the order of the road
    "superpixels": superpixels_column,
    "cams": cams_column,
    "pseudo_labels": overlay_column,
    "predictions": overlay_column,
}
_LAYERS = ("cams", "pseudo_labels", "predictions")  # of the gallery

# Headings of the tables.
_METRICS = {
    "stage": "Stage", "split": "Photos of", "images": "Photos with masks", "miou": "mIoU (%)",
    "over_activation": "Over-activation (%)", "under_activation": "Under-activation (%)", "seconds": "Seconds",
    "memory_mb": "Memory (MB)", "chosen_by_masks": "Chosen with masks",
}  # fmt: skip
_COMPARISON = {
    "table": "Table", "dataset": "Data", "method": "Method", "supervision": "Supervision", "backbone": "Network",
    "measure": "Stage", "split": "Photos of", "images": "Photos with masks", "miou": "mIoU (%)",
    "difference": "Difference to SSC",
}  # fmt: skip
_COSTS = {
    "stage": "Stage", "rule": "Rule", "jobs": "Jobs", "photos": "Photos", "seconds": "Seconds",
    "longest_job": "Longest job (s)", "mean_load": "Load (% of a core)", "memory_mb": "Memory (MB)",
    "seconds_per_photo": "Seconds per photo",
}  # fmt: skip

# By photo, how doubtful its result is, 0..1, and why.
Doubts = Mapping[Row, tuple[float, Sequence[str]]]


def write_page(
    *,
    index: str | Path,
    archives: Mapping[str, Sequence[str | Path]],
    predicted: str,
    dataset: str,
    experiment: str,
    page: str | Path,
    thumbnails: str | Path,
    verdict: str | Path | None = None,
    metrics: str | Path | None = None,
    comparison: str | Path | None = None,
    costs: str | Path | None = None,
    figures: Mapping[str, str | Path] = {},
    threads: int = 1,
) -> None:
    """Write the page; what is not given has no section.

    Equal input gives equal bytes. A few photos are in memory at a time, and the thumbnails of a file.

    Args:
        index: the photos; those of `train` and of the predicted split are shown.
        archives: shard archives of `superpixels`, `cams`, `pseudo_labels` (of the split `train`) and `predictions`.
        predicted: the split of the predictions.
        dataset, experiment: their names.
        page: HTML to write.
        thumbnails: folder to write, absent or empty, in the folder of the page; it stays empty where the page itself
            can hold all thumbnails.
        verdict: JSON file of `ssc.report.evidence.write_verdict`.
        metrics, comparison, costs: TSV files of `ssc.report.metrics_table` and `ssc.report.comparison`.
        figures: PNG files: `seeds`, `losses`, `panels`.
        threads: thumbnails that are drawn at the same time.

    Raises:
        InputError: a file is absent or damaged, or a photo cannot be read.
    """
    table = read_index(index)
    found = {name: Archive(*archives[name]) for name in _COLUMNS if archives.get(name)}
    sources = {
        name: Source(found[name], predicted if name == "predictions" else "train") for name in _LAYERS if name in found
    }
    judged = read_json(verdict) if verdict else None
    rows = [row for row in table.rows if row.split in ("train", predicted)]
    # A preview may find a first shard without photos, or results of photos that are gone.
    sources = {name: source for name, source in sources.items() if any(map(source.covers, rows))}
    found = {name: archive for name, archive in found.items() if name in sources or name not in _LAYERS}
    doubts = _judged(rows, judged) if judged else _disagreements(rows, sources)
    rows.sort(key=lambda row: -doubts[row][0] if row in doubts else 1)
    measured = read_table(metrics).fillna("") if metrics else pd.DataFrame()
    stages = _figures(measured)
    spent = read_table(costs).fillna("") if costs else pd.DataFrame()
    # Without masks the curve of the seeds is a note that there is none.
    curves = [name for name in figures if name != "seeds" or any(each["stage"] == "seeds" for each in stages)]
    with atomic_folder(thumbnails) as folder, name_in_errors(thumbnails):
        shown = write_thumbnails(rows, sources, folder, threads=threads)
        scripts = _taken_in(folder)
    # What a preview finds of earlier settings may have had other classes.
    used = sorted(shown.union(*(row.labels for row in rows)) & set(range(1, table.num_classes + 1)))
    content = {
        "dataset": dataset,
        "experiment": experiment,
        "splits": {split: len(table.split(split)) for split in dict.fromkeys(["train", predicted])},
        "verdict": judged,
        "figures": stages,
        "example": list(_example(rows, found, sources)),
        "classes": _classes(table, used, rows),
        "undecided": css_colour(IGNORE_COLOUR) if IGNORE in shown else None,
        "metrics": _table(measured, _METRICS) if metrics else None,
        "comparison": _comparison(comparison) if comparison else None,
        "costs": _table(spent, _COSTS) if costs else None,
        "took": told_time(sum(float(row.seconds) for row in spent.itertuples() if row.stage == "all")),
        "pictures": {name: _data_uri("png", Path(figures[name]).read_bytes()) for name in curves},
        "layers": list(sources),
        "photos": [_photo(row, sources, doubts) for row in rows],
        "sorted": bool(doubts),
        "photos_per_file": PHOTOS_PER_FILE,
        "folder": Path(thumbnails).name,
        "scripts": scripts,
    }
    write_text(page, _template().render(content))


def _taken_in(folder: Path) -> list[str]:
    """The scripts with thumbnails, taken out of their folder if the page can hold all; else none."""
    files = sorted(folder.iterdir())
    if sum(file.stat().st_size for file in files) > _INLINE:
        return []
    scripts = [file.read_text(encoding="utf-8") for file in files]
    for file in files:
        file.unlink()
    return scripts


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment.get_template("page.html.j2")


def _judged(rows: Sequence[Row], verdict: Mapping) -> Doubts:
    photos, split = verdict["photos"], verdict["photos_of"]
    found = {row: photos[row.id] for row in rows if row.split == split and row.id in photos}
    return {row: (own["suspicion"], own["why"]) for row, own in found.items()}


def _disagreements(rows: Sequence[Row], sources: Mapping[str, Source]) -> Doubts:
    """Of photos with a pseudo-label and a prediction: the share of what either paints in which they differ."""
    pair = [sources[name] for name in ("pseudo_labels", "predictions") if name in sources]
    doubts = {}
    for row in rows:
        if len(pair) == 2 and all(source.covers(row) for source in pair):
            labels, prediction = (source.archive.labels(row.id) for source in pair)
            prediction = resize_labels(prediction, labels.shape)
            painted = ((labels > 0) | (prediction > 0)) & (labels != IGNORE)
            share = float(np.mean((labels != prediction)[painted])) if painted.any() else 0.0
            doubts[row] = share, [f"pseudo-label and prediction differ in {100 * share:.0f} % of what either paints"]
    return doubts


def _photo(row: Row, sources: Mapping[str, Source], doubts: Doubts) -> dict:
    layers = [name for name, source in sources.items() if source.covers(row)]
    why = [why for _, reasons in [doubts.get(row, (0, []))] for why in reasons]
    return {"id": row.id, "split": row.split, "labels": row.labels, "layers": layers, "why": why}


def _example(rows: Sequence[Row], found: Mapping[str, Archive], sources: Mapping[str, Source]) -> Iterator[dict]:
    """The stages as pictures of one photo: `name`, `uri`, and the `labels` of the photo.

    Predictions of another split than the pseudo-labels are shown on a photo of that split.
    """
    row = _middle(rows, [source for source in sources.values() if source.split == "train"])
    drawn = {"photo": lambda row, image, size: resize_image(image, size)}
    drawn |= {name: _COLUMNS[name](archive) for name, archive in found.items()}
    for name, draw in drawn.items():
        other = name in sources and not sources[name].covers(row)
        own = _middle(rows, [sources[name]]) if other else row
        image = read_image(own.image)
        picture = draw(own, image, fit(image.shape[:2], _EXAMPLE_SIDE))
        yield {"name": name, "uri": _data_uri("webp", webp(picture)), "labels": own.labels, "other": other}


def _middle(rows: Sequence[Row], sources: Sequence[Source]) -> Row:
    """The photo in the middle of those that all sources cover, of those with labels if there are any."""
    covered = [row for row in rows if all(source.covers(row) for source in sources)]
    labelled = [row for row in covered if row.labels] or covered
    return labelled[len(labelled) // 2]


def _figures(measured: pd.DataFrame) -> list[dict]:
    """The stages whose mIoU was measured, with what the better of two baselines reaches on the same masks (`guess`)."""
    figures = []
    for row in measured[measured["miou"] != ""].to_dict("records") if len(measured) else ():
        kind, *_ = row["stage"].split(": ")
        if kind == "baseline":
            figures[-1]["guess"] = max(figures[-1]["guess"], float(row["miou"]))
        elif kind != "step":
            iou = {name.removeprefix("iou_"): value for name, value in row.items() if name.startswith("iou_")}
            figures.append({**row, "miou": float(row["miou"]), "guess": 0.0, "iou": iou})
    return figures


def _classes(table: Index, used: Sequence[int], rows: Sequence[Row]) -> list[dict]:
    """The classes that the photos or the layers show: `id`, `name`, `colour`, and the number of `photos` with it."""
    return [
        {
            "id": label,
            "name": table.classes[label - 1],
            "colour": css_colour(PALETTE[label]),
            "photos": sum(label in row.labels for row in rows),
        }
        for label in used
    ]


def _comparison(path: str | Path) -> dict | None:
    """Our numbers between the paper's; None where none of ours is measured on the paper's data."""
    rows = read_table(path).fillna("")
    if not (rows["difference"] != "").any():
        return None
    return _table(rows[(rows["method"] != OWN) | (rows["miou"] != "")], _COMPARISON)


def _table(frame: pd.DataFrame, headings: Mapping[str, str]) -> dict:
    """A table of text without its empty columns: `headings`, each with whether it is over words, and `rows`."""
    kept = [name for name in headings if name in frame and (frame[name] != "").any()]
    words = [bool(pd.to_numeric(frame[name].replace("", "0"), errors="coerce").isna().any()) for name in kept]
    named = zip((headings[name] for name in kept), words, strict=True)
    return {"headings": list(named), "rows": frame[kept].to_numpy().tolist()}


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
