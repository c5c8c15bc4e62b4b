"""ONNX files in onnxruntime, against the network in Python."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ssc
from ssc.cli import main
from ssc.data.transforms import resize_image
from ssc.interop.onnx_file import export_onnx
from ssc.models.deeplab import DeepLabV2
from ssc.models.weights import save_weights
from ssc.report.pictures import PALETTE, css_colour
from ssc.runtime.errors import InputError
from tests.unit.models.networks_by_hand import randomised

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[3]
CLASSES = ["cat", "Überzug"]


def write_weights(folder, backbone="tiny", *, networks=1):
    """A network that sees several classes in any photo, or a pair."""
    torch.manual_seed(1)
    options = {"num_classes": 3, "backbone": backbone, "output_stride": 16, "rates": [1, 2]}
    parts = {}
    for name in ["segmentation", "segmentation_2"][:networks]:
        model = DeepLabV2(**options)
        randomised(model)
        for branch in model.aspp:
            nn.init.normal_(branch.weight, std=0.1)
        parts[name] = (model, options)
    path = folder / "segmentation.safetensors"
    save_weights(path, parts, classes=CLASSES)
    return path


def patches(height, width, seed=0):
    """A photo of coloured patches."""
    return resize_image(np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8), (height, width))


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Weights of the tiny network, and `segmentation.onnx` beside them."""
    weights = write_weights(tmp_path_factory.mktemp("exported"))
    export_onnx(weights, weights.with_suffix(".onnx"))
    return weights


@pytest.mark.parametrize(
    ("backbone", "networks"),
    [("tiny", 1), ("tiny", 2), ("tf_efficientnet_lite0", 1), ("test_convnext", 1), ("test_vit", 1)],
)
def test_labels_are_those_of_the_network(tmp_path, backbone, networks):
    """Photos of any size: the second network pads as TensorFlow does, the third its photos, the last its positions."""
    weights = write_weights(tmp_path, backbone, networks=networks)
    export_onnx(weights, tmp_path / "net.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "net.onnx"), full_check=True)
    segmenter, session = ssc.load(weights, device="cpu"), session_of(tmp_path / "net.onnx")
    for size in ((128, 96), (101, 75), (33, 250)):
        photo = patches(*size)
        labels, probabilities = session.run(None, {"photos": photo[None]})
        expected = segmenter.predict(photo)
        assert labels.dtype == np.uint8 and labels.shape == (1, *size)
        np.testing.assert_allclose(probabilities[0], expected.probabilities, atol=1e-3)
        low, high = np.sort(expected.probabilities, axis=0)[-2:]
        clear = high - low > 1e-3  # elsewhere rounding decides
        assert clear.mean() > 0.98 and len(np.unique(expected.labels)) > 1
        np.testing.assert_array_equal(labels[0][clear], expected.labels[clear])


def test_photos_of_one_size_are_taken_together(exported):
    session = session_of(exported.with_suffix(".onnx"))
    photos = np.stack([patches(50, 61, seed) for seed in range(3)])
    labels, probabilities = session.run(None, {"photos": photos})
    for number, photo in enumerate(photos):
        alone = session.run(None, {"photos": photo[None]})
        np.testing.assert_array_equal(labels[number], alone[0][0])
        np.testing.assert_allclose(probabilities[number], alone[1][0], atol=1e-5)


def test_the_file_says_what_it_takes_and_gives(exported):
    session = session_of(exported.with_suffix(".onnx"))
    shapes = {value.name: (value.type, value.shape) for value in [*session.get_inputs(), *session.get_outputs()]}
    assert shapes == {
        "photos": ("tensor(uint8)", ["batch", "height", "width", 3]),
        "labels": ("tensor(uint8)", ["batch", "height", "width"]),
        "probabilities": ("tensor(float)", ["batch", 3, "height", "width"]),
    }
    facts = session.get_modelmeta()
    assert json.loads(facts.custom_metadata_map["classes"]) == ["background", *CLASSES]
    assert json.loads(facts.custom_metadata_map["colours"]) == [css_colour(PALETTE[k]) for k in range(3)]
    assert "RGB" in facts.description


def test_the_example_of_the_docs_runs(exported, monkeypatch, capsys):
    (example,) = re.findall(
        r"```python\n(import json.*?)```", (ROOT / "docs" / "exporting.md").read_text("utf-8"), flags=re.DOTALL
    )
    monkeypatch.chdir(exported.parent)
    Image.fromarray(patches(40, 61)).save("photo.jpg")
    exec(compile(example, "docs/exporting.md", "exec"), {})
    areas = {name: float(share) for name, share in re.findall(r"(\w+): (\d+.\d) %", capsys.readouterr().out)}
    found = ssc.load(exported, device="cpu").predict("photo.jpg")
    assert areas == {name: pytest.approx(100 * share, abs=0.1) for name, share, *_ in found.regions()}


def test_a_graph_that_gives_something_else_is_refused(weights, tmp_path, monkeypatch):
    """A trace takes a size that goes through Python for a constant."""
    forward = DeepLabV2.forward
    monkeypatch.setattr(DeepLabV2, "forward", lambda self, image: forward(self, image * (float(image.shape[-1]) / 100)))
    with pytest.raises(
        InputError, match=r"\(tiny\) cannot be expressed in ONNX by .* \(its probabilities are 0\.\d\d off"
    ):
        export_onnx(weights, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_an_operator_that_onnx_lacks_is_told_in_one_sentence(weights, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(DeepLabV2, "forward", lambda self, image: torch.special.i0(image))
    assert main(["export-onnx", str(weights), str(tmp_path / "net.onnx")]) == 1
    told = capfd.readouterr()
    assert told.out == "" and told.err.startswith("Error: The network of")
    assert told.err.count("\n") == 1 and "aten::i0" in told.err
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_packages_that_are_not_installed_are_one_clear_message(weights, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"needs the packages onnx and onnxruntime; pip install 'ssc-wsss\[onnx\]'\.$"):
        export_onnx(weights, tmp_path / "net.onnx")


def test_a_network_that_no_onnx_file_has_room_for(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("ssc.interop.onnx_file._ROOM", 1000)
    with pytest.raises(InputError, match=r"segmentation\.safetensors holds 0\.0 GB, and an ONNX file 2\.1 GB"):
        export_onnx(weights, tmp_path / "net.onnx")


def test_files_of_others_are_not_replaced(weights, tmp_path, capsys):
    """Nor are the weights, and its own is."""
    output = tmp_path / "net.onnx"
    command = ["export-onnx", str(weights), str(output)]
    output.write_text("mine")
    assert main(command) == 1
    assert "net.onnx exists and is not what this command wrote" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert main([*command, "--force"]) == main(command) == 0
    before = weights.read_bytes()
    assert main(["export-onnx", str(weights), str(weights), "--force"]) == 1
    assert "is read by this command and would be replaced" in capsys.readouterr().err
    assert weights.read_bytes() == before


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "classifier.safetensors"
    save_weights(path, {"classifier": (nn.Linear(2, 2), {})}, classes=[])
    with pytest.raises(InputError, match="holds no segmentation"):
        export_onnx(path, tmp_path / "net.onnx")
