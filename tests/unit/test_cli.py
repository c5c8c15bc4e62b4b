import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

import ssc
from ssc.cli import main
from ssc.data.photos import read_image
from ssc.models.deeplab import DeepLabV2, load_networks
from ssc.models.weights import save_weights
from ssc.prediction import predict_steps, probabilities
from ssc.workflow.settings import Prediction

PREDICT = ["predict", "{photo}", "--weights", "{weights}"]
OPTIONS = {"num_classes": 3, "backbone": "tiny", "output_stride": 8, "rates": [1, 2]}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "segmentation.safetensors"
    save_weights(path, {"segmentation": (DeepLabV2(**OPTIONS), OPTIONS)}, classes=["cat", "dog"])
    return path


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("extra", [[], ["--crf"], ["--scales", "0.5", "1"]])
def test_predict_writes_mask_and_overlay(weights, photo, tmp_path, capsys, extra):
    out = tmp_path / "out"
    assert main(["predict", "--weights", str(weights), str(photo), "--out", str(out), *extra]) == 0
    with Image.open(out / "photo.png") as mask:
        assert mask.mode == "P"
        assert mask.size == (56, 40)
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}
    with Image.open(out / "photo_overlay.png") as overlay:
        assert overlay.size == (56, 40)
    assert capsys.readouterr().out.startswith("photo.jpg: ")


def test_predict_refuses_a_missing_photo_before_anything_is_written(weights, photo, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["predict", "--weights", str(weights), str(photo), str(tmp_path / "no.jpg"), "--out", str(out)]
    assert main(arguments) == 1
    assert "no.jpg does not exist" in capsys.readouterr().err
    assert not out.exists()


def test_predict_refuses_two_photos_of_one_name(weights, photo, tmp_path, capsys):
    other = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(other)
    assert main(["predict", "--weights", str(weights), str(photo), str(other), "--out", str(tmp_path / "out")]) == 1
    assert "would have one name" in capsys.readouterr().err


def test_predict_refuses_other_weights(photo, tmp_path, capsys):
    path = tmp_path / "other.safetensors"
    layer = torch.nn.Linear(2, 2)
    save_weights(path, {"classifier": (layer, {})}, classes=[])
    assert main(["predict", "--weights", str(path), str(photo), "--out", str(tmp_path / "out")]) == 1
    assert "holds no segmentation" in capsys.readouterr().err


def test_evaluate_prints_miou(tmp_path, capsys):
    for folder, labels in (("own", [[0, 1], [1, 1]]), ("truth", [[0, 1], [0, 255]])):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array(labels, np.uint8)).save(tmp_path / folder / "a.png")
    assert main(["evaluate", str(tmp_path / "own"), str(tmp_path / "truth")]) == 0
    assert "mIoU 50.00 % over 1 images" in capsys.readouterr().out


def test_evaluate_of_ignored_pixels_alone_is_an_error(tmp_path, capsys):
    Image.fromarray(np.full((2, 2), 255, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "own").mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "own" / "a.png")
    (tmp_path / "truth").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "truth" / "a.png")
    assert main(["evaluate", str(tmp_path / "own"), str(tmp_path / "truth")]) == 1
    assert "nothing to measure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*PREDICT, "--out", "{folder}", "--scales", "0"], "'0' is no number above 0"),
        ([*PREDICT, "--out", "{folder}", "--scales", "nan"], "'nan' is no number"),
        ([*PREDICT, "--out", "{folder}", "--scales", "-1"], "--scales: "),
        ([*PREDICT, "--out", "{folder}", "--device", "gpu"], "device is 'gpu'"),
        ([*PREDICT, "--out", "{folder}", "--device", "cuda"], "no CUDA device"),
        (["predict", "{photo}", "--weights", "{folder}", "--out", "{folder}/out"], "{folder}"),
        (["predict", "{photo}", "--weights", "{photo}", "--out", "{folder}/out"], "{photo}"),
        ([*PREDICT, "--out", "{weights}"], "is a file, where a folder is needed"),
        ([*PREDICT, "--out", "{weights}/out"], "is a file, where a folder is needed"),
        (["predict", "{folder}/*.tif", "--weights", "{weights}", "--out", "{folder}/out"], "*.tif does not exist"),
        (["predict", "{empty}", "--weights", "{weights}", "--out", "{folder}/out"], "holds no photo"),
        (["evaluate", "{folder}", "{folder}", "--num-classes", "-3"], "'-3' is no number above 0 and up to 255"),
        (["evaluate", "{photo}", "{photo}"], "{photo}"),
        (["compare-stages", "{folder}", "{folder}", "--threshold", "7"], "'7' is no number above 0 and up to 1"),
        (["import-weights", "irn", "{folder}", "{folder}/x.safetensors"], "{folder}"),
        (["import-weights", "backbone", "{weights}", "{weights}"], "is read by this command and would be replaced"),
        (["convert-cams", "{photo}", "{folder}/out"], "holds no .npy file"),
        (["verify", "{photo}"], "{photo}"),
        (["verify", "{folder}/x.jsonl"], "x.jsonl does not exist"),
        (["register", "{empty}", "--who", "me", "--to", "{folder}/x.jsonl"], "{empty}/manifest.json does not exist"),
        (["register", "{empty}", "--to", "{folder}/x.jsonl"], "The following arguments are required: --who"),
        (["crate", "{empty}", "--out", "{folder}/crate"], "{empty}/manifest.json does not exist"),
        (["crate", "{empty}", "--out", "{folder}"], "exists already and is no empty folder"),
        (["crate", "{empty}", "--out", "{photo}"], "exists already and is no empty folder"),
        (["start", "{empty}"], "holds no photo"),
        (["start", "{folder}", "--from", "exif"], "--from: invalid choice: 'exif'"),
        (["start", "{folder}", "--out", "{photo}"], "photo.jpg exists and is not what this command wrote"),
        (["predikt"], "Argument command: invalid choice: 'predikt'"),
        (["predict", "--wieghts", "x"], "The following arguments are required"),
        ([], "The following arguments are required: command"),
    ],
)  # fmt: skip
def test_what_a_user_can_do_wrong_is_told_in_one_sentence(weights, photo, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    places = {"photo": photo, "weights": weights, "folder": tmp_path, "empty": tmp_path / "empty"}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status = main([argument.format(**places) for argument in arguments])
    told = capsys.readouterr()
    assert status == (2 if arguments[:1] in (["verify"], ["compare-stages"]) and "--threshold" not in arguments else 1)
    assert told.err.startswith("Error: ") and told.err.count("\n") == 1 and message.format(**places) in told.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("error", "message"), [(MemoryError(), "memory is exhausted"), (KeyboardInterrupt(), "Interr")]
)
def test_errors_of_the_machine_are_told_without_a_traceback(monkeypatch, capsys, error, message):
    monkeypatch.setattr("ssc.workflow.verify.check_run", lambda run: (_ for _ in ()).throw(error))
    assert main(["verify", "x"]) != 0
    assert message in capsys.readouterr().err


def test_defects_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("ssc.workflow.verify.check_run", lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["verify", "x"])


def test_version(capsys):
    with pytest.raises(SystemExit) as info:
        main(["--version"])
    assert info.value.code == 0 and capsys.readouterr().out.startswith("ssc ")


def predict(weights, *arguments):
    return main(["predict", "--weights", str(weights), *map(str, arguments)])


def test_predict_replaces_neither_photos_nor_masks(weights, tmp_path, capsys):
    """A PNG photo has the name that its mask would get."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "in" / "holiday.png")
    (tmp_path / "masks").mkdir()
    Image.new("L", (40, 40)).save(tmp_path / "masks" / "holiday.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert predict(weights, tmp_path / "in" / "holiday.png", "--out", tmp_path / "in") == 1
    assert "is read by this command" in capsys.readouterr().err
    assert predict(weights, tmp_path / "in" / "holiday.png", "--out", tmp_path / "in", "--force") == 1
    assert predict(weights, tmp_path / "in" / "holiday.png", "--out", tmp_path / "masks") == 1
    assert "masks/holiday.png exists and is not what this command wrote; name" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
    assert predict(weights, tmp_path / "in" / "holiday.png", "--out", tmp_path / "masks", "--force") == 0
    assert (tmp_path / "masks" / "holiday.png").read_bytes() != before[tmp_path / "masks" / "holiday.png"]


def test_predict_replaces_its_own_results_until_they_are_mended(weights, photo, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(weights, photo, "--out", out) == predict(weights, photo, "--out", out) == 0
    Image.new("L", (56, 40), 1).save(out / "photo.png")
    mended = (out / "photo.png").read_bytes()
    assert predict(weights, photo, "--out", out) == 1
    assert "photo.png exists and is not what this command wrote" in capsys.readouterr().err
    assert (out / "photo.png").read_bytes() == mended


def test_import_weights_replaces_its_own_results_alone(tmp_path, capsys):
    from ssc.models.backbones import backbone

    torch.save(backbone("tiny").state_dict(), tmp_path / "tiny.pth")
    arguments = ["import-weights", "backbone", str(tmp_path / "tiny.pth"), str(tmp_path / "out.safetensors")]
    (tmp_path / "out.safetensors").write_text("mine")
    assert main(arguments) == 1
    assert "out.safetensors exists and is not what" in capsys.readouterr().err
    assert (tmp_path / "out.safetensors").read_text() == "mine"
    (tmp_path / "out.safetensors").unlink()
    assert main(arguments) == main(arguments) == 0


def test_predict_takes_folders_and_patterns_and_goes_on_after_a_broken_photo(weights, tmp_path, capsys):
    for name in ("a.jpg", "sub/a.jpg", "sub/deep/b.PNG"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    (tmp_path / "in" / "notes.txt").write_text("no photo either")
    assert predict(weights, tmp_path / "in", "--out", tmp_path / "out") == 1
    told = capsys.readouterr()
    assert "broken.jpg cannot be read" in told.err and "Wrote 3 masks" in told.out
    masks = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert masks == {f"{name}{end}.png" for name in ("a", "sub/a", "sub/deep/b") for end in ("", "_overlay")}
    assert predict(weights, f"{tmp_path}/in/*.jpg", "--out", tmp_path / "other") == 1
    assert (tmp_path / "other" / "a.png").exists() and not (tmp_path / "other" / "sub").exists()


@pytest.mark.parametrize("out", ["in", "in/masks", "link/masks"])
def test_results_are_never_taken_for_photos(weights, tmp_path, capsys, out):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "in" / "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert predict(weights, tmp_path / "in", "--out", tmp_path / out) == 1
    assert "whose pictures are all taken for photos; name a folder outside" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.jpg"]


def test_a_folder_is_not_replaced_by_a_mask(weights, photo, tmp_path, capsys):
    (tmp_path / "out" / "photo.png").mkdir(parents=True)
    assert predict(weights, photo, "--out", tmp_path / "out", "--force") == 1
    assert "photo.png is a folder, where a file is to be written" in capsys.readouterr().err


def test_predictions_are_tabulated(weights, photo, tmp_path):
    assert predict(weights, photo, "--out", tmp_path / "out") == 0
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.asarray(Image.open(tmp_path / "out" / "photo.png"))
    names = ["background", "cat", "dog"]
    colours = ["#000000", "#800000", "#008000"]
    assert [row["class"] for row in rows] == [names[k] for k in np.unique(labels)]
    for row in rows:
        label = names.index(row["class"])
        assert row["photo"] == str(photo) and row["mask"] == "photo.png" and row["colour"] == colours[label]
        assert float(row["area"]) == pytest.approx((labels == label).mean(), abs=1e-4)
        assert 1 / 3 < float(row["confidence"]) <= 1


def test_predict_does_as_the_run_did(weights, photo, tmp_path):
    """With the manifest of a run beside the weights, its scales, mirror images and CRF."""
    settings = Prediction(scales=[0.5, 1.0], flip=True, crf={"enabled": True, "iterations": 2})
    plain, run = tmp_path / "plain", tmp_path / "run"
    assert predict(weights, photo, "--out", plain) == 0
    (tmp_path / "manifest.json").write_text(json.dumps({"config": {"prediction": settings.model_dump()}}))
    assert predict(weights, photo, "--out", run) == 0
    networks, image = load_networks(weights), read_image(photo)
    expected = predict_steps(networks, image, scales=[0.5, 1.0], flip=True, crf=settings.crf.options())[-1]
    np.testing.assert_array_equal(np.asarray(Image.open(run / "photo.png")), expected)
    expected = predict_steps(networks, image, flip=False)[-1]
    np.testing.assert_array_equal(np.asarray(Image.open(plain / "photo.png")), expected)
    assert predict(weights, photo, "--out", plain, "--scales", "1", "--no-crf") == 0
    expected = predict_steps(networks, image, flip=True)[-1]
    np.testing.assert_array_equal(np.asarray(Image.open(plain / "photo.png")), expected)


def test_large_photos_are_seen_at_the_size_of_those_of_the_run(weights, photo, tmp_path):
    """The network has seen none of phones' twelve megapixels; the mask has the photo's own size nevertheless."""
    config = {"prediction": Prediction(scales=[1.0], crf={"enabled": False}).model_dump(), "dataset": {"max_side": 28}}
    (tmp_path / "manifest.json").write_text(json.dumps({"config": config}))
    image = read_image(photo)
    small = np.asarray(Image.fromarray(image).resize((28, 20), Image.Resampling.LANCZOS))
    segmenter = ssc.load(weights, device="cpu")
    found = segmenter.predict(photo)
    assert found.image.shape == image.shape and found.labels.shape == (40, 56)
    rows, columns = np.indices((40, 56)) // 2
    nearest = probabilities(load_networks(weights), small, flip=True)[-1].numpy()[:, rows, columns]
    np.testing.assert_allclose(found.probabilities.mean((1, 2)), nearest.mean((1, 2)), atol=1e-3)
    assert np.corrcoef(found.probabilities[1].ravel(), nearest[1].ravel())[0, 1] > 0.9
    np.testing.assert_array_equal(
        segmenter.predict(small).labels, predict_steps(load_networks(weights), small, flip=True)[-1]
    )
    assert predict(weights, photo, "--out", tmp_path / "out") == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "photo.png")), found.labels)


@pytest.mark.parametrize("content", [{}, {"config": {}}, {"name": "An app", "config": "theirs"}])
def test_a_manifest_of_another_program_beside_the_weights_means_nothing(weights, photo, content):
    weights.with_name("manifest.json").write_text(json.dumps(content))
    assert ssc.load(weights, device="cpu").settings.scales == [1.0]


def test_start_prints_the_balance_and_the_command_that_trains(tmp_path, capsys):
    for name in ("cat/1.jpg", "dog/2.jpg", "dog/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    assert main(["start", str(tmp_path)]) == 0
    assert (tmp_path / "labels.csv").read_text() == "image,labels\ncat/1.jpg,cat\ndog/2.jpg,dog\ndog/3.jpg,dog\n"
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"Wrote {tmp_path}/labels.csv from the folders of the photos."
    assert {"  cat       1  few", "  dog       2  few"} < set(told)
    command = told[-1]
    assert command.partition(" ")[2].startswith("run --config folder 'dataset={")
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text().replace("3.jpg,dog", "3.jpg,cat"))  # mended
    assert main(["start", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{table} is there and stays as it is; --force writes it anew."
    assert "  cat       2  few" in told and told[-1] == command and "3.jpg,cat" in table.read_text()
    assert main(["start", str(tmp_path), "--from", "keywords", "--out", str(tmp_path / "other.csv")]) == 1
    assert "keywords of the photos" in capsys.readouterr().err


def test_load_is_a_function_of_photos(weights, photo):
    segmenter = ssc.load(weights, device="cpu")
    found = segmenter.predict(photo)
    assert found.classes == ("background", "cat", "dog")
    assert found.labels.dtype == np.uint8 and found.labels.shape == (40, 56)
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(found.labels, found.probabilities.argmax(axis=0))
    assert found.overlay.shape == (40, 56, 3) and found.overlay.dtype == np.uint8
    np.testing.assert_array_equal(segmenter.predict(read_image(photo)).labels, found.labels)
    seen = []
    segmenter.networks[0].register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.enabled))
    segmenter.predict(photo)
    assert set(seen) == {False}  # which would prepare kernels for each size of a photo
