import numpy as np
import pytest
import torch
from PIL import Image

from ssc.cli import main
from ssc.models.deeplab import DeepLabV2
from ssc.models.weights import save_weights

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
    assert "'photo'" in capsys.readouterr().err


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
