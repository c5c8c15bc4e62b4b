"""Weight files: what is written is read again, what does not fit is refused in one sentence."""

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from ssc.models import CAMClassifier, DeepLabV2, ReconstructionNet, backbone
from ssc.models.weights import load_backbone, load_part, read_header, rename_classes, save_weights
from ssc.runtime.errors import InputError

OPTIONS = {"num_classes": 3, "backbone": "tiny", "output_stride": 8, "delta": 0.4}
DECODER = {"num_classes": 3, "width": 16, "upsamplings": 3}


def same_tensors(a, b):
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


def classifier(seed=0, **options):
    torch.manual_seed(seed)
    return CAMClassifier(**{**OPTIONS, **options})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file of two parts, and the two networks in it."""
    path = tmp_path_factory.mktemp("weights") / "classifier.safetensors"
    model, decoder = classifier(), ReconstructionNet(**DECODER)
    parts = {"classifier": (model, OPTIONS), "reconstruction": (decoder, DECODER)}
    save_weights(path, parts, classes=["a", "b", "c"], seed=4)
    return path, model, decoder


def test_parts_survive(saved):
    path, model, decoder = saved
    for name, kind, original in (("classifier", CAMClassifier, model), ("reconstruction", ReconstructionNet, decoder)):
        loaded = load_part(path, name, kind)
        assert same_tensors(loaded.state_dict(), original.state_dict())
        assert not loaded.training
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loaded = load_part(path, "classifier", CAMClassifier)
    assert loaded.drs.delta == 0.4
    torch.testing.assert_close(loaded(image)[0], model.eval()(image)[0])


def test_header_holds_options_and_facts(saved):
    header = read_header(saved[0])
    assert header["facts"] == {"classes": ["a", "b", "c"], "seed": 4}
    assert header["parts"] == {
        "classifier": {"model": "CAMClassifier", "options": OPTIONS},
        "reconstruction": {"model": "ReconstructionNet", "options": DECODER},
    }


def test_equal_weights_give_equal_bytes(saved, tmp_path):
    path, model, decoder = saved
    other = tmp_path / "again.safetensors"
    # Parts, options and facts in another order.
    parts = {
        "reconstruction": (decoder, dict(reversed(DECODER.items()))),
        "classifier": (model, dict(reversed(OPTIONS.items()))),
    }
    save_weights(other, parts, seed=4, classes=["a", "b", "c"])
    assert other.read_bytes() == path.read_bytes()
    save_weights(other, {**parts, "classifier": (classifier(seed=1), OPTIONS)}, seed=4, classes=["a", "b", "c"])
    assert other.read_bytes() != path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.safetensors"]


def test_the_file_is_an_ordinary_safetensors_file(saved):
    path, model, decoder = saved
    expected = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    expected |= {f"reconstruction.{key}": value for key, value in decoder.state_dict().items()}
    assert same_tensors(dict(sorted(load_file(path).items())), dict(sorted(expected.items())))


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("segmentation", DeepLabV2, "holds no segmentation .DeepLabV2. but classifier .CAMClassifier., reconstruction"),
        ("classifier", DeepLabV2, "holds no classifier .DeepLabV2."),
    ],
)
def test_other_parts_are_refused(saved, name, kind, sentence):
    with pytest.raises(InputError, match=sentence):
        load_part(saved[0], name, kind)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"num_classes": 5},
            r"classifier.classifier.weight has shape \(3, 64, 1, 1\), the network needs \(5, 64, 1, 1\)",
        ),
        ({"backbone": "resnet18"}, "shape|lacks the tensor classifier.backbone"),
    ],
)
def test_tensors_that_do_not_fit_the_options_are_refused(tmp_path, options, sentence):
    path = tmp_path / "wrong.safetensors"
    save_weights(path, {"classifier": (classifier(), {**OPTIONS, **options})})
    with pytest.raises(InputError, match=sentence):
        load_part(path, "classifier", CAMClassifier)


@pytest.mark.parametrize("load", [read_header, lambda path: load_backbone(backbone("tiny"), path)])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"", "not a readable safetensors"),
        (b"\x80\x02 pickle?", "not a readable safetensors"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, load, content, sentence):
    path = tmp_path / "file.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"file.safetensors.*{sentence}"):
        load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_files_of_others_have_no_header(tmp_path, metadata):
    path = tmp_path / "theirs.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(InputError, match="not written by ssc"):
        read_header(path)


# Backbones


@pytest.fixture(scope="module")
def torchvision_state():
    torch.manual_seed(1)
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.mark.parametrize("old", [False, True])
def test_backbone_from_torchvisions_names(tmp_path, torchvision_state, old):
    """The classification head is left out; old files count no batches."""
    state = {k: v for k, v in torchvision_state.items() if not (old and k.endswith("num_batches_tracked"))}
    save_file(state, tmp_path / "resnet18.safetensors")
    model = backbone("resnet18")
    load_backbone(model, tmp_path / "resnet18.safetensors")
    own = model.state_dict()
    assert len(own) == len(torchvision_state) - 2
    assert all(torch.equal(value, torchvision_state[key]) for key, value in own.items())


def test_constructors_take_the_file(tmp_path, torchvision_state):
    save_file(torchvision_state, tmp_path / "resnet18.safetensors")
    for model in (
        CAMClassifier(2, "resnet18", tmp_path / "resnet18.safetensors"),
        DeepLabV2(3, "resnet18", tmp_path / "resnet18.safetensors", rates=(6,)),
    ):
        assert torch.equal(model.backbone.layer4[1].conv2.weight, torchvision_state["layer4.1.conv2.weight"])


def test_backbone_of_one_of_our_files(saved):
    path, model, _ = saved
    other = backbone("tiny", output_stride=16)
    load_backbone(other, path)
    assert same_tensors(other.state_dict(), model.backbone.state_dict())
    deeplab = DeepLabV2(4, "tiny", path, output_stride=4)
    assert same_tensors(deeplab.backbone.state_dict(), model.backbone.state_dict())


def test_backbone_of_a_part_that_is_a_bare_network_inside_a_module(tmp_path):
    model = backbone("tiny")
    save_file({f"backbone.{key}": value for key, value in model.state_dict().items()}, tmp_path / "x.safetensors")
    other = backbone("tiny")
    load_backbone(other, tmp_path / "x.safetensors")
    assert same_tensors(other.state_dict(), model.state_dict())


def test_backbones_of_another_network_are_refused(tmp_path, torchvision_state):
    path = tmp_path / "resnet18.safetensors"
    save_file(torchvision_state, path)
    with pytest.raises(InputError, match=r"lacks the tensor layer1.2.conv1.weight; it belongs to another network"):
        load_backbone(backbone("resnet34"), path)
    with pytest.raises(InputError, match=r"conv1.weight has shape \(64, 3, 7, 7\), the network needs \(16, 3, 3, 3\)"):
        load_backbone(backbone("tiny"), path)


def test_a_refused_file_changes_nothing(tmp_path, torchvision_state):
    state = {**torchvision_state, "layer4.1.bn2.bias": torch.zeros(3)}
    save_file(state, tmp_path / "resnet18.safetensors")
    model = backbone("resnet18")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"layer4.1.bn2.bias has shape \(3,\)"):
        load_backbone(model, tmp_path / "resnet18.safetensors")
    assert same_tensors(model.state_dict(), before)


def test_renamed_classes_are_as_if_the_file_had_been_written_with_them(saved, tmp_path):
    path, model, decoder = saved
    (tmp_path / "x.safetensors").write_bytes(path.read_bytes())
    parts = {"classifier": (model, OPTIONS), "reconstruction": (decoder, DECODER)}
    save_weights(tmp_path / "fresh.safetensors", parts, classes=["a", "a longer name", "ü"], seed=4)
    rename_classes(tmp_path / "x.safetensors", ("a", "a longer name", "ü"))
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "fresh.safetensors").read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fresh.safetensors", "x.safetensors"]


def test_classes_of_other_files_are_not_renamed(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"x\.safetensors was not written by ssc"):
        rename_classes(tmp_path / "x.safetensors", ["a"])
    assert (tmp_path / "x.safetensors").read_bytes() == before
