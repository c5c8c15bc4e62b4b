import pytest
import torch

from ssc.models import IRN, CAMClassifier, DeepLabV2
from ssc.models.weights import read_header, save_weights
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json
from ssc.stages.check_weights import check_start, check_weights, write_facts

CLASSES = ["cat", "dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A weight file of each stage, for two classes."""
    folder = tmp_path_factory.mktemp("trained")
    for stage, build, options, facts in (
        ("classifier", CAMClassifier, {"num_classes": 2, "backbone": "tiny"}, {"classes": CLASSES}),
        ("irn", IRN, {"backbone": "tiny"}, {}),
        ("segmentation", DeepLabV2, {"num_classes": 3, "backbone": "tiny"}, {"classes": CLASSES}),
    ):
        save_weights(folder / f"{stage}.safetensors", {stage: (build(**options), options)}, **facts)
    return folder


@pytest.mark.parametrize("stage", ["classifier", "irn", "segmentation"])
def test_fitting_weights_pass(folder, stage):
    check_weights(folder / f"{stage}.safetensors", stage=stage, classes=CLASSES)


def test_irn_fits_any_classes(folder):
    check_weights(folder / "irn.safetensors", stage="irn", classes=["a", "b", "c"])


@pytest.mark.parametrize(
    ("file", "stage", "classes", "sentence"),
    [
        ("none", "irn", CLASSES, "none.safetensors does not exist"),
        ("irn", "classifier", CLASSES, r"^ready.classifier: .*irn.safetensors holds no classifier but irn; name"),
        ("classifier", "segmentation", CLASSES, "classifier.safetensors holds no segmentation but classifier"),
        ("classifier", "classifier", ["cat"], "classifier.safetensors has 2 classes, the data set 1"),
        ("segmentation", "segmentation", ["a", "b", "c"], "segmentation.safetensors has 2 classes, the data set 3"),
        ("segmentation", "segmentation", ["cat", "cow"], "class 2 of .*segmentation.safetensors is 'dog', .*'cow'"),
        ("classifier", "classifier", ["dog", "cat"], "class 1 of .*classifier.safetensors is 'cat', .*'dog'"),
    ],
)
def test_other_weights_are_refused(folder, file, stage, classes, sentence):
    with pytest.raises(InputError, match=sentence):
        check_weights(folder / f"{file}.safetensors", stage=stage, classes=classes)


def test_another_network_under_the_parts_name_is_refused(tmp_path):
    save_weights(tmp_path / "x.safetensors", {"irn": (torch.nn.Linear(1, 1), {})})
    with pytest.raises(InputError, match="holds no irn but irn"):
        check_weights(tmp_path / "x.safetensors", stage="irn", classes=CLASSES)


def test_what_is_known_of_ready_weights_is_written(folder, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    path = folder / "classifier.safetensors"
    write_facts(path, stage="classifier", classes=tmp_path / "classes.txt", output=tmp_path / "facts.json")
    assert read_json(tmp_path / "facts.json") == {"file": str(path), **read_header(path)}
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(InputError, match="class 1 of"):
        write_facts(path, stage="classifier", classes=tmp_path / "classes.txt", output=tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_a_start_fits_its_network_alone(folder, tmp_path):
    check_start(folder / "classifier.safetensors", key="irn.weights", network="tiny", output_stride=8)
    with pytest.raises(
        InputError, match=r"^irn\.weights: .*classifier\.safetensors: .* the network needs .*check the backbone"
    ):
        check_start(folder / "classifier.safetensors", key="irn.weights", network="resnet50")
    (tmp_path / "cut.safetensors").write_bytes((folder / "irn.safetensors").read_bytes()[:500])
    with pytest.raises(
        InputError, match=r"^classifier\.cdr\.weights: .*cut\.safetensors is not a readable safetensors"
    ):
        check_start(tmp_path / "cut.safetensors", key="classifier.cdr.weights", network="vgg19")


def test_a_start_at_the_only_stride_that_a_network_has(tmp_path):
    model = CAMClassifier(2, "densenet121", output_stride=32, drs=False)
    save_weights(tmp_path / "dense.safetensors", {"classifier": (model, {})})
    check_start(tmp_path / "dense.safetensors", key="classifier.weights", network="densenet121", output_stride=32)
