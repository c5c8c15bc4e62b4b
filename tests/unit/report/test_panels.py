import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ssc import archive
from ssc.constants import voc_palette
from ssc.data.index import Index, Row, write_index
from ssc.data.transforms import normalise, resize_image
from ssc.models import IRN, CAMClassifier, DeepLabV2, ReconstructionNet
from ssc.models.weights import load_part, save_weights
from ssc.report import sheets
from ssc.report.panels import write_ablation_panels, write_panels, write_reconstructions, write_val_panels
from ssc.report.pictures import heat
from ssc.runtime.errors import InputError
from ssc.stages.evaluate import write_image_miou
from ssc.workflow.settings import Prediction

CLASSES = ["orbi", "quado"]
# id: (height, width), labels, has a mask. The sheet prefers those with mask and labels.
TRAIN = {
    "a": ((40, 56), (1,), True),
    "b": ((56, 40), (1, 2), True),
    "c": ((48, 48), (), True),
    "d": ((48, 48), (2,), False),
    "e": ((30, 90), (2,), True),
}
PREDICTION = Prediction(scales=[1.0], flip=False, crf={"enabled": False})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set of five training images, the archives of every stage and untrained networks."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    rows = []
    with (
        archive.write(folder / "masks.zip") as masks,
        archive.write(folder / "superpixels.zip") as superpixels,
        archive.write(folder / "cams.zip") as cams,
        archive.write(folder / "labels.zip") as labels,
    ):
        for name, (size, present, has_mask) in TRAIN.items():
            Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{name}.png")
            rows.append(Row(name, "train", str(folder / f"{name}.png"), "", present))
            if has_mask:
                masks.add_labels(name, rng.choice([0, 1, 2, 255], size))
            superpixels.add_labels(name, np.arange(size[0] * size[1]).reshape(size) // 300)
            grid = [-(-side // 4) for side in size]
            maps = rng.random((len(present), *grid)).astype(np.float16)
            cams.add_arrays(name, classes=np.array(present, np.int16), cams=maps)
            labels.add_labels(name, rng.integers(0, 3, size))
    write_index(folder / "index.tsv", Index(CLASSES, rows))

    shared = {"backbone": "tiny", "output_stride": 8}
    classifier = CAMClassifier(num_classes=2, **shared)
    decoder_options = {"num_classes": 2, "width": 8, "upsamplings": 3}
    early_options = {**decoder_options, "num_classes": classifier.backbone.channels[3]}
    parts = {"classifier": (classifier, {"num_classes": 2, **shared})}
    for name, options in (("last", decoder_options), ("early", early_options)):
        decoder = {"reconstruction": (ReconstructionNet(**options), options)}
        facts = {"settings": {"cdr": {"source": name, "rectify": False}}}
        save_weights(folder / f"{name}.safetensors", {**parts, **decoder}, **facts)
    save_weights(folder / "plain.safetensors", parts, settings={"cdr": {"source": "last", "rectify": False}})
    save_weights(folder / "irn.safetensors", {"irn": (IRN(**shared), shared)})
    options = {"num_classes": 3, **shared}
    save_weights(folder / "segmentation.safetensors", {"segmentation": (DeepLabV2(**options), options)})
    return folder


def record(monkeypatch):
    """What is composed from now on: (rows, headings, tiles) of each sheet."""
    calls, compose = [], sheets._compose

    def keep(sample, headings, tiles, classes):
        calls.append(([row for row, _ in sample], headings, tiles))
        return compose(sample, headings, tiles, classes)

    monkeypatch.setattr(sheets, "_compose", keep)
    return calls


@pytest.fixture
def drawn(monkeypatch):
    return record(monkeypatch)


@pytest.fixture(scope="module")
def full(data):
    """The sheet of all columns: (rows, headings, tiles); the picture is `full.png`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        calls = record(monkeypatch)
        train_sheet(data, data / "full.png")
    return calls[0]


def train_sheet(data, output, **changes):
    arguments = {
        "index": data / "index.tsv",
        "archives": {
            "superpixels": [data / "superpixels.zip"],
            "cams": [data / "cams.zip"],
            "pseudo_labels": [data / "labels.zip"],
        },
        "weights": {
            "classifier": data / "last.safetensors",
            "irn": data / "irn.safetensors",
            "segmentation": data / "segmentation.safetensors",
        },
        "masks": [data / "masks.zip"],
        "scores": None,
        "output": output,
        "panels": 8,
        "prediction": PREDICTION,
        "edges": {"scale": 1.0},
        "device": "cpu",
    }
    for name, value in changes.items():
        part = next((arguments[key] for key in ("archives", "weights") if name in arguments[key]), arguments)
        part[name] = value
    write_panels(**arguments)


def val_sheet(data, output, **changes):
    arguments = {
        "index": data / "index.tsv",
        "split": "train",
        "predictions": [data / "labels.zip"],
        "masks": [data / "masks.zip"],
        "scores": None,
        "output": output,
        "panels": 8,
    }
    write_val_panels(**{**arguments, **changes})


def photo(data, name):
    with Image.open(data / f"{name}.png") as image:
        return np.asarray(image.convert("RGB"))


def nearest(labels, size):
    """Label under the centre of each pixel of the resized map, in integers."""
    (height, width), (rows, columns) = labels.shape, size
    return np.array(
        [
            [labels[(2 * y + 1) * height // (2 * rows), (2 * x + 1) * width // (2 * columns)] for x in range(columns)]
            for y in range(rows)
        ]
    )


def palette_picture(labels):
    """Pillow's rendering of a palette PNG."""
    image = Image.fromarray(labels.astype(np.uint8), mode="P")
    image.putpalette(voc_palette())
    return np.asarray(image.convert("RGB"))


def by_heading(sheet):
    rows, headings, tiles = sheet
    return {row.id: dict(zip(headings, line, strict=True)) for row, line in zip(rows, tiles, strict=True)}


ALL = ["image", "ground truth", "superpixels", "CAM", "reconstruction", "IRN edges", "pseudo-label", "prediction"]


def test_the_training_sheet_has_every_column_and_keeps_aspect_ratios(data, full):
    rows, headings, tiles = full
    assert headings == ALL
    assert [row.id for row in rows] == ["a", "b", "e"]  # `c` has no labels, `d` no mask
    for row, line in zip(rows, tiles, strict=True):
        (height, width), _, _ = TRAIN[row.id]
        for tile in line:
            assert tile.dtype == np.uint8
            assert tile.shape == line[0].shape
            assert tile.shape[0] <= 144 and tile.shape[1] <= 216
            assert tile.shape[0] == 144 or tile.shape[1] == 216
            assert abs(tile.shape[1] - tile.shape[0] * width / height) <= width / height
    with Image.open(data / "full.png") as image:
        assert (image.mode, image.info) == ("RGB", {})
        pixels = np.asarray(image)
    assert pixels.shape[1] > len(ALL) * max(line[0].shape[1] for line in tiles)
    assert pixels.shape[0] > len(rows) * 144
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all()


def test_tiles_stand_on_the_sheet_in_rows_and_columns(data, full):
    with Image.open(data / "full.png") as image:
        pixels = np.asarray(image).astype(np.int32) @ [1, 256, 65536]
    places = np.array([[locate(pixels, tile) for tile in line] for line in full[2]])
    tops, lefts, heights, widths = places.transpose(2, 0, 1)
    assert (tops == tops[:, :1]).all()
    assert (lefts[:, 1:] >= lefts[:, :-1] + widths[:, :-1]).all()
    assert (tops[1:] >= tops[:-1] + heights[:-1]).all()
    middles = 2 * lefts + widths
    assert abs(middles - middles[0]).max() <= 1


def locate(pixels, tile):
    """The one place (y, x, height, width) where a picture stands, bit for bit, on a sheet."""
    tile = tile.astype(np.int32) @ [1, 256, 65536]
    height, width = tile.shape
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (height, width))
    places = np.argwhere(
        (windows[..., 0, 0] == tile[0, 0]) & (windows[..., height // 2, ::9] == tile[height // 2, ::9]).all(-1)
    )
    (place,) = [(y, x) for y, x in places if (windows[y, x] == tile).all()]
    return (*place, height, width)


def test_the_label_columns_show_their_archives(data, full):
    for name, tiles in by_heading(full).items():
        for heading, path in (("ground truth", "masks.zip"), ("pseudo-label", "labels.zip")):
            labels = archive.Archive(data / path).labels(name)
            np.testing.assert_array_equal(tiles[heading], palette_picture(nearest(labels, tiles[heading].shape[:2])))


def test_the_network_columns_show_their_networks(data, full):
    network = load_part(data / "segmentation.safetensors", "segmentation", DeepLabV2)
    irn = load_part(data / "irn.safetensors", "irn", IRN)
    for name, tiles in by_heading(full).items():
        image = photo(data, name)
        size = tiles["image"].shape[:2]
        with torch.no_grad():
            logits = F.interpolate(network(normalise(image)[None]), image.shape[:2], mode="bilinear")
            edges, mirrored = (irn(normalise(view.copy())[None])[0].sigmoid()[0, 0] for view in (image, image[:, ::-1]))
        np.testing.assert_array_equal(tiles["prediction"], palette_picture(nearest(logits[0].argmax(0).numpy(), size)))
        grey = ((edges + mirrored.flip(-1)) / 2 * 255).round().byte().numpy()
        expected = np.asarray(Image.fromarray(grey).resize(size[::-1], Image.Resampling.BICUBIC))
        for channel in range(3):
            difference = tiles["IRN edges"][..., channel].astype(int) - expected
            assert abs(difference).max() <= 2  # rounding of the batch of two


@pytest.mark.parametrize("source", ["last", "early"])
def test_the_reconstruction_is_the_decoders_output(data, drawn, tmp_path, source):
    path = data / f"{source}.safetensors"
    train_sheet(data, tmp_path / "sheet.png", classifier=path)
    model = load_part(path, "classifier", CAMClassifier)
    decoder = load_part(path, "reconstruction", ReconstructionNet)
    tiles = by_heading(drawn[0])["b"]["reconstruction"]
    with torch.no_grad():  # 56 x 40 is a multiple of the stride
        output = decoder(model.forward_features(normalise(photo(data, "b"))[None])[("early", "last").index(source)])[0]
    picture = ((output.permute(1, 2, 0).numpy() + 1) / 2 * 255).round().astype(np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize(tiles.shape[1::-1], Image.Resampling.BICUBIC))
    np.testing.assert_allclose(tiles.astype(int), expected, atol=1)


def test_superpixel_lines_lie_where_labels_change(data, full):
    tiles = by_heading(full)["a"]
    changed = (tiles["superpixels"] != tiles["image"]).any(-1)
    labels = archive.Archive(data / "superpixels.zip").labels("a")
    size = changed.shape
    large = nearest(labels, size)
    lines = np.zeros(size, bool)
    for y in range(size[0]):
        for x in range(size[1]):
            neighbours = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [p for p in neighbours if 0 <= p[0] < size[0] and 0 <= p[1] < size[1]]
            lines[y, x] = any(large[p] > large[y, x] for p in inside)
    np.testing.assert_array_equal(changed, lines)
    assert len(np.unique(tiles["superpixels"][lines], axis=0)) == 1


def test_columns_without_content_are_left_out(data, drawn, tmp_path):
    plain = data / "plain.safetensors"
    train_sheet(data, tmp_path / "sheet.png", superpixels=[], masks=[], classifier=plain)
    rows, headings, _ = drawn[0]
    missing = {"ground truth", "superpixels", "reconstruction"}
    assert headings == [name for name in ALL if name not in missing]
    assert [row.id for row in rows] == ["a", "b", "d", "e"]  # no masks at all: labels decide
    val_sheet(data, tmp_path / "val.png", masks=[])
    assert drawn[1][1] == ["image", "prediction", "overlay"]


def test_stages_that_a_run_does_not_make_have_no_column(data, drawn, tmp_path):
    absent = {"superpixels": [], "cams": [], "classifier": None, "irn": None, "pseudo_labels": [], "masks": []}
    train_sheet(data, tmp_path / "sheet.png", **absent)
    assert drawn[0][1] == ["image", "prediction"]


def test_scores_choose_the_images(data, drawn, tmp_path):
    scores = {"a": 0.25, "b": 0.75, "c": 1.0, "e": 0.5}
    write_image_miou(tmp_path / "scores.tsv", scores)
    for sheet in (train_sheet, val_sheet):
        sheet(data, tmp_path / "sheet.png", scores=tmp_path / "scores.tsv", panels=2)
    assert [[row.id for row in rows] for rows, _, _ in drawn] == [["b", "a"], ["b", "a"]]  # c has no labels


def test_the_ablation_sheet_has_the_cam_of_each_experiment(data, drawn, tmp_path):
    write_image_miou(tmp_path / "scores.tsv", {"a": 0.25, "b": 0.75, "e": 0.5})
    with archive.write(tmp_path / "other.zip") as cams:
        for name, (size, present, _) in TRAIN.items():
            grid = [-(-side // 4) for side in size]
            cams.add_arrays(name, classes=np.array(present, np.int16), cams=np.zeros((len(present), *grid), np.float16))
    experiments = {"ssc": [data / "cams.zip"], "cold": [tmp_path / "other.zip"]}
    common = {"index": data / "index.tsv", "masks": [data / "masks.zip"], "scores": tmp_path / "scores.tsv"}
    write_ablation_panels(**common, cams=experiments, output=tmp_path / "sheet.png", panels=3)
    rows, headings, _ = drawn[0]
    assert headings == ["image", "ground truth", "ssc", "cold"]
    assert [row.id for row in rows] == ["b", "e", "a"]
    train_sheet(data, tmp_path / "train.png")
    tiles, train_tiles = by_heading(drawn[0]), by_heading(drawn[1])
    for name in "abe":
        np.testing.assert_array_equal(tiles[name]["ssc"], train_tiles[name]["CAM"])
        cold = heat(photo(data, name), torch.zeros(1, *photo(data, name).shape[:2]))
        np.testing.assert_array_equal(tiles[name]["cold"], resize_image(cold, tiles[name]["image"].shape[:2]))


def test_the_reconstructions_are_those_of_each_decoder(data, drawn, tmp_path):
    write_image_miou(tmp_path / "scores.tsv", {"a": 0.25, "b": 0.75, "e": 0.5})
    classifiers = {
        "baseline": data / "plain.safetensors",
        "cdr": data / "last.safetensors",
        "cdr_early": data / "early.safetensors",
        "cdr_again": data / "last.safetensors",
    }
    write_reconstructions(
        index=data / "index.tsv",
        classifiers=classifiers,
        masks=[data / "masks.zip"],
        scores=tmp_path / "scores.tsv",
        output=tmp_path / "sheet.png",
        panels=3,
        device="cpu",
    )
    assert drawn[0][1] == ["image", "cdr", "cdr_early"]  # no decoder; a column for one file
    for experiment, name in (("cdr", "last"), ("cdr_early", "early")):
        train_sheet(data, tmp_path / "train.png", classifier=data / f"{name}.safetensors")
        expected = by_heading(drawn[-1])["b"]["reconstruction"]
        np.testing.assert_array_equal(by_heading(drawn[0])["b"][experiment], expected)


def test_a_split_without_images_gives_the_headings_alone(data, tmp_path):
    val_sheet(data, tmp_path / "val.png", split="val")
    with Image.open(tmp_path / "val.png") as image:
        assert image.height < 144
        assert np.asarray(image).min() < 128  # text


def test_images_without_labels_are_shown_when_there_are_no_others(data, drawn, tmp_path):
    rows = [Row("c", "train", str(data / "c.png"), "", ())]
    write_index(tmp_path / "index.tsv", Index(CLASSES, rows))
    train_sheet(data, tmp_path / "sheet.png", index=tmp_path / "index.tsv")
    tiles = by_heading(drawn[0])["c"]
    np.testing.assert_array_equal(tiles["CAM"], tiles["image"])  # no class, no heat
    assert list(tiles) == ALL


def test_the_validation_sheet_overlays_its_prediction(data, drawn, tmp_path):
    val_sheet(data, tmp_path / "val.png")
    assert drawn[0][1] == ["image", "ground truth", "prediction", "overlay"]
    for tiles in by_heading(drawn[0]).values():
        background = (tiles["prediction"] == 0).all(-1)
        same = (tiles["overlay"] == tiles["image"]).all(-1)
        assert same[background].all()
        assert same[~background].mean() < 0.01


def test_equal_input_gives_equal_bytes(data, full, tmp_path):
    train_sheet(data, tmp_path / "train.png")
    assert (tmp_path / "train.png").read_bytes() == (data / "full.png").read_bytes()
    for name in ("1", "2"):
        val_sheet(data, tmp_path / f"val{name}.png")
    assert (tmp_path / "val1.png").read_bytes() == (tmp_path / "val2.png").read_bytes()


def test_archives_of_another_index_are_refused(data, tmp_path):
    with archive.write(tmp_path / "other.zip") as out:
        out.add_labels("other", np.zeros((4, 4), int))
    with pytest.raises(InputError, match=r"a\.npz"):
        train_sheet(data, tmp_path / "sheet.png", cams=[tmp_path / "other.zip"])
    with pytest.raises(InputError, match=r"a\.png"):
        train_sheet(data, tmp_path / "sheet.png", pseudo_labels=[tmp_path / "other.zip"])
    with pytest.raises(InputError, match="holds no irn"):
        train_sheet(data, tmp_path / "sheet.png", irn=data / "last.safetensors")
    assert not (tmp_path / "sheet.png").exists()
