"""The page, read with the parser of the standard library."""

import base64
import io
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssc import archive
from ssc.data.index import Index, Row, write_index
from ssc.report.comparison import OWN
from ssc.report.page import write_page
from ssc.report.pictures import PALETTE
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json, write_table

CLASSES = ["<script>alert(1)</script>", "a \"quoted\" & 'b' " + "long" * 30, "犬 كلب 🐕"]
# By id the labels; photos without any have no CAM.
TRAIN = {"a": (1,), "b/2": (2, 3), "c<b>": (), "d\"'": (2,), "e🐕": (3,)}
VAL = {"f": (1,), "g": (2,), "h" * 120: ()}
ARCHIVES = ("superpixels", "cams", "pseudo_labels", "predictions")
NAMES = {"dataset": "<script>alert(2)</script>", "experiment": "ssc"}


class Page(HTMLParser):
    """What is on a page: `tags` with their attributes, `texts` by tag, the headings, and what the script reads."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.texts, self._open = [], [], []
        self.feed(self.source)
        assert not self._open
        self.scripts = self.all("script")
        self.data = json.loads(self.scripts[0])
        self.headings = self.all("h2")
        self.photos = {photo["id"]: photo for photo in self.data["photos"]}

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "input"):
            self._open.append([tag, ""])
            self.texts.append(self._open[-1])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, text):
        for own in self._open:
            own[1] += text

    def all(self, tag):
        return [text.strip() for name, text in self.texts if name == tag]

    def attributes(self, tag, name):
        return [own[name] for kind, own in self.tags if kind == tag and name in own]


def write(folder, *, predicted="val", names=ARCHIVES, **changes):
    """Write a page of a small data set, with all that it can show, to `folder`/report.html."""
    rng, rows = np.random.default_rng(0), []
    for split, photos in (("train", TRAIN), ("val", VAL)):
        for number, (name, labels) in enumerate(photos.items()):
            path = folder / f"{split}{number}.png"
            coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
            coarse.resize((48, 30 + number), Image.Resampling.BICUBIC).save(path)
            rows.append(Row(name, split, str(path), "", labels))
    write_index(folder / "index.tsv", Index(CLASSES, rows))
    with (
        archive.write(folder / "superpixels.zip") as superpixels,
        archive.write(folder / "cams.zip") as cams,
        archive.write(folder / "pseudo_labels.zip") as pseudo_labels,
        archive.write(folder / "predictions.zip") as predictions,
    ):
        for row in rows:
            with Image.open(row.image) as image:
                size = image.size[::-1]
            labels = np.full(size, max(row.labels, default=0))
            if row.split == "train":
                superpixels.add_labels(row.id, np.arange(size[0] * size[1]).reshape(size) // 300)
                maps = rng.random((len(row.labels), *(-(-side // 4) for side in size))).astype(np.float16)
                cams.add_arrays(row.id, classes=np.array(row.labels, np.int16), cams=maps)
                pseudo_labels.add_labels(row.id, labels)
            if row.split == predicted:
                labels[: size[0] // 4 * (int(row.image[-5]) + 1)] = 0  # the later, the less of it is right
                predictions.add_labels(row.id, labels)
    iou = {f"iou_{name}": ["", "", "41.25", ""] for name in ["background", *CLASSES]}
    write_table(
        folder / "metrics.tsv",
        pd.DataFrame({
            "stage": ["data", "superpixels", "pseudo-labels", "baseline: all background"],
            "split": ["", "", "train", "train"], "images": ["", "", "5", ""], "miou": ["", "", "41.25", "12.50"],
            "over_activation": "", "chosen_by_masks": "", **iou,
        }),
    )  # fmt: skip
    write_table(folder / "costs.tsv", pd.DataFrame({"stage": ["all"], "rule": [""], "seconds": ["12.0"]}))
    arguments = {
        **NAMES,
        "index": folder / "index.tsv",
        "archives": {name: [folder / f"{name}.zip"] for name in names},
        "predicted": predicted,
        "page": folder / "report.html",
        "thumbnails": folder / "report_thumbnails",
        "metrics": folder / "metrics.tsv",
        "costs": folder / "costs.tsv",
        **changes,
    }
    shutil.rmtree(folder / "report_thumbnails", ignore_errors=True)
    write_page(**arguments)
    return Page(folder / "report.html")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder):
    return write(folder)


def thumbnails(script):
    """Number of a file of thumbnails, and its pictures by photo."""
    number, pictures = json.loads("[" + script.removeprefix("thumbnails(").removesuffix(")") + "]")
    return number, pictures


def test_every_photo_is_in_with_its_layers(page):
    assert set(page.photos) == {*TRAIN, *VAL}
    assert page.data["layers"] == ["cams", "pseudo_labels", "predictions"]
    assert all(page.photos[name]["labels"] == list(labels) for name, labels in {**TRAIN, **VAL}.items())
    number, pictures = thumbnails(page.scripts[2])
    assert number == 0 and len(page.scripts) == 3
    for photo, own in zip(page.data["photos"], pictures, strict=True):
        expected = [True, photo["split"] == "train" and bool(photo["labels"])]
        assert [bool(each) for each in own] == [*expected, photo["split"] == "train", photo["split"] == "val"]


def test_thumbnails_are_the_photo_and_what_lies_over_it(page, folder):
    _, pictures = thumbnails(page.scripts[2])
    place = [photo["id"] for photo in page.data["photos"]].index("a")
    photo, cam, labels, _ = [
        each and np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))).astype(int) for each in pictures[place]
    ]
    with Image.open(folder / "train0.png") as image:
        assert photo.shape == (30, 48, 3) and abs(photo - np.asarray(image)).mean() < 10
    assert cam.shape == (15, 24, 4) and 60 <= cam[..., 3].min() <= cam[..., 3].max() <= 192
    np.testing.assert_array_equal(labels, np.broadcast_to([*PALETTE[1], 140], (30, 48, 4)))


def test_the_legend_has_the_colours_that_are_shown(page):
    assert [(each["name"], each["colour"]) for each in page.data["classes"]] == [
        (name, "#" + bytes(PALETTE[label].tolist()).hex()) for label, name in enumerate(CLASSES, start=1)
    ]
    swatches = [style for style in page.attributes("span", "style") if style.startswith("background:#")]
    assert swatches[:3] == [f"background:{each['colour']}" for each in page.data["classes"]]
    assert "undecided" not in page.all("span")


def test_undecided_pixels_are_in_the_legend(tmp_path):
    with archive.write(tmp_path / "undecided.zip") as out:
        for name in TRAIN:
            out.add_labels(name, np.full((30, 48), 255))
    found = write(tmp_path, archives={"pseudo_labels": [tmp_path / "undecided.zip"]})
    assert "undecided" in found.all("span")


def test_names_are_text_and_nothing_else(page):
    assert page.all("h1") == [NAMES["dataset"]]
    assert set(CLASSES) <= set(page.all("bdi"))
    assert [text for text in page.all("option") if text.startswith("<script>")] == [f"{CLASSES[0]} (2)"]
    assert "alert" not in page.scripts[1] and "<script>alert" not in page.source


def test_nothing_comes_from_outside(page):
    given = [own.get(name) for _, own in page.tags for name in ("src", "href", "srcset", "action", "data")]
    outside = [address for address in given if address and not address.startswith(("data:", "#"))]
    assert outside == ["https://doi.org/10.1109/TIP.2024.3359041"]  # a link
    assert "url(" not in page.source and "@import" not in page.source


def test_tables_show_what_there_is(page):
    texts = page.all("th")
    assert "mIoU (%)" in texts and "Over-activation (%)" not in texts and "Rule" not in texts
    assert {"41.25", "12.50", "12.0"} <= set(page.all("td"))
    assert page.all("b").count("41.2") == 1
    assert "All jobs, one after the other, would have taken 12 s." in page.all("p")
    tables = ["All stages", "Fit by class", "What it cost"]
    assert page.headings == ["How well the shapes fit", "From photo to prediction", "All photos", *tables]


def test_a_preview_shows_what_is_there(tmp_path):
    found = write(tmp_path, names=["cams"], metrics=None, costs=None)
    assert found.data["layers"] == ["cams"]
    assert found.headings == ["From photo to prediction", "All photos"]
    assert [text for text in found.all("p") if text.startswith("A preview")]
    nothing = write(tmp_path, names=[], metrics=None, costs=None)
    assert set(nothing.photos) == {*TRAIN, *VAL} and nothing.all("h3") == ["Photo"]


def test_a_run_without_masks_says_so(tmp_path):
    write_table(tmp_path / "none.tsv", pd.DataFrame({"stage": ["data"], "split": [""], "miou": [""], "seconds": ["1"]}))
    Image.new("RGB", (4, 4)).save(tmp_path / "note.png")
    found = write(tmp_path, metrics=tmp_path / "none.tsv", figures={"seeds": tmp_path / "note.png"})
    assert not [source for source in found.attributes("img", "src") if source.startswith("data:image/png")]
    assert "How well the shapes fit" not in found.headings and "Fit by class" not in found.headings
    assert [text for text in found.all("p") if "no masks to measure on" in text]


def test_pictures_of_stages(page):
    assert page.all("h3") == ["Photo", "Superpixels", "CAM", "Pseudo-label", "Prediction"]
    assert [text.endswith("did not learn from.") for text in page.all("p") if text.startswith("What the last")] == [
        True
    ]


def test_the_paper_stands_beside_numbers_on_its_data_alone(tmp_path):
    rows = pd.DataFrame({
        "table": ["II"] * 4, "method": ["SSC", OWN] * 2, "measure": ["seeds"] * 2 + ["segmentation"] * 2,
        "miou": ["58.3", "50.00", "72.7", ""], "difference": ["", "-8.30", "", ""],
    })  # fmt: skip
    write_table(tmp_path / "comparison.tsv", rows)
    found = write(tmp_path, comparison=tmp_path / "comparison.tsv")
    assert "Beside the paper" in found.headings
    assert "-8.30" in found.all("td") and found.all("td").count(OWN) == 1
    write_table(tmp_path / "comparison.tsv", rows.assign(difference=""))
    assert "Beside the paper" not in write(tmp_path, comparison=tmp_path / "comparison.tsv").headings


def test_photos_whose_pseudo_label_and_prediction_differ_come_first(tmp_path):
    found = write(tmp_path, predicted="train")
    assert list(found.photos) == ["e🐕", "d\"'", "b/2", "a", "c<b>"]
    assert found.photos["c<b>"]["why"] == ["pseudo-label and prediction differ in 0 % of what either paints"]
    assert "most doubtful first" in found.all("option")


def test_the_verdict_leads_and_orders_the_photos(tmp_path):
    reason = {"light": "red", "what": "cams.flat", "text": "<b>12</b> of 98 & more.", "next": "Look at these."}
    reasons = [reason, reason, {**reason, "light": "yellow", "next": "Wait."}, {**reason, "light": "green", "next": ""}]
    photos = {name: {"suspicion": value, "why": []} for name, value in {"f": 1, "b/2": 0.5, "e🐕": 0.75}.items()}
    photos["b/2"]["why"] = ["odd"]
    judged = {"light": "red", "reasons": reasons, "figures": {}, "photos_of": "train", "photos": photos}
    write_json(tmp_path / "verdict.json", judged)
    found = write(tmp_path, verdict=tmp_path / "verdict.json")
    assert list(found.photos)[:3] == ["e🐕", "b/2", "a"]  # `f` is no training photo
    assert found.photos["b/2"]["why"] == ["odd"]
    assert found.headings[0] == "Not to be used as it is"
    assert found.attributes("section", "class") == ["verdict red"]
    assert found.attributes("li", "class") == ["red", "red", "yellow", "green"]
    assert [text.removeprefix("✕") for text in found.all("li")][:2] == [
        "<b>12</b> of 98 & more.", "<b>12</b> of 98 & more.Look at these.",
    ]  # fmt: skip
    assert len(found.all("details")) == 1
    write_json(tmp_path / "verdict.json", {**judged, "light": "green", "reasons": reasons[3:]})
    assert write(tmp_path, verdict=tmp_path / "verdict.json").all("details") == []


def test_figures_are_in_the_page(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "curve.png")
    found = write(tmp_path, figures={"losses": tmp_path / "curve.png", "panels": tmp_path / "curve.png"})
    assert len([source for source in found.attributes("img", "src") if source.startswith("data:image/png")]) == 2


def test_many_thumbnails_lie_in_files_beside_the_page(tmp_path, monkeypatch):
    whole = thumbnails(write(tmp_path).scripts[2])[1]
    assert list((tmp_path / "report_thumbnails").iterdir()) == []
    monkeypatch.setattr("ssc.report.page._INLINE", 0)
    monkeypatch.setattr("ssc.report.page.PHOTOS_PER_FILE", 3)
    monkeypatch.setattr("ssc.report.thumbnails.PHOTOS_PER_FILE", 3)
    found = write(tmp_path)
    assert len(found.scripts) == 2
    assert (found.data["folder"], found.data["photos_per_file"]) == ("report_thumbnails", 3)
    files = [thumbnails((tmp_path / "report_thumbnails" / f"{n}.js").read_text().strip()) for n in range(3)]
    assert [number for number, _ in files] == [0, 1, 2]
    assert [picture for _, pictures in files for picture in pictures] == whole


def test_equal_input_gives_equal_bytes_with_any_number_of_threads(page, folder):
    assert write(folder).source == page.source
    assert write(folder, threads=3).source == page.source


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"broken\.zip"):
        write(tmp_path, archives={"cams": [tmp_path / "broken.zip"]})
    assert not (tmp_path / "report.html").exists()
