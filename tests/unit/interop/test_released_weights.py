"""Published checkpoints: all names and shapes are known, what does not fit is refused, outputs stay what they were."""

import csv
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ssc.cli import main
from ssc.data.voc import VOC_CLASSES
from ssc.interop import released_weights
from ssc.interop.released_weights import (
    import_classifier,
    import_irn,
    import_segmentation,
    read_checkpoint,
    take_tensors,
)
from ssc.models import IRN, CAMClassifier, DeepLabV2, ReconstructionNet
from ssc.models.weights import load_part, read_header
from ssc.runtime.errors import InputError
from tests.unit.interop.published import (
    published_classifier,
    published_irn,
    published_reconstruction,
    published_segmentation,
)

DECODER = {"num_classes": 20, "width": 256, "upsamplings": 4}


def filled(model, seed=0):
    """The network as `load_part` returns it, with numbers in its norms and biases that differ from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.ndim == 1:
            tensor.copy_(0.2 + 0.2 * torch.rand(tensor.shape, generator=generator))
    return model.to(memory_format=torch.channels_last).eval()


def on_meta(build, **options):
    with torch.device("meta"):
        return build(**options)


@pytest.mark.parametrize(
    ("table", "published", "build", "options"),
    [
        ("classifier", published_classifier, CAMClassifier, {"num_classes": 20}),
        ("reconstruction", published_reconstruction, ReconstructionNet, DECODER),
        ("irn", published_irn, IRN, {}),
        ("deeplabv2", published_segmentation, DeepLabV2, {"num_classes": 21}),
    ],
)
def test_the_names_of_these_tests_are_the_published_ones(shared_data, table, published, build, options):
    path = shared_data.parent / "paper" / "checkpoints" / f"{table}.tsv"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with path.open(newline="") as handle:
        expected = {row["key"]: row["shape"] for row in csv.DictReader(handle, delimiter="\t")}
    found = published(on_meta(build, **options))
    assert {key: "x".join(map(str, value.shape)) or "scalar" for key, value in found.items()} == expected


# The classifier and the reconstruction net


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Our networks, their tensors under the published names, and the imported file."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    model, decoder = filled(CAMClassifier(20)), filled(ReconstructionNet(**DECODER), seed=1)
    torch.save(published_classifier(model), folder / "cam.pth")
    torch.save(published_reconstruction(decoder), folder / "dec.pth")
    output = folder / "classifier.safetensors"
    arguments = ["import-weights", "classifier", folder / "cam.pth", output, "--reconstruction", folder / "dec.pth"]
    assert main([str(argument) for argument in arguments]) == 0
    yield model, decoder, output
    for path in folder.iterdir():
        path.unlink()  # hundreds of megabytes


@torch.no_grad()
def test_an_imported_classifier_computes_what_ours_does(classifier):
    model, decoder, output = classifier
    loaded = load_part(output, "classifier", CAMClassifier)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for own, other in zip(model(image), loaded(image), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
    features = torch.randn(1, 20, 2, 3, generator=torch.Generator().manual_seed(0))
    painted = load_part(output, "reconstruction", ReconstructionNet)(features)
    torch.testing.assert_close(decoder(features), painted, rtol=1e-4, atol=1e-5)
    own = model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in loaded.state_dict().items())


def test_the_imported_classifier_has_the_released_settings(classifier):
    header = read_header(classifier[2])
    assert header["facts"] == {
        "classes": VOC_CLASSES,
        "settings": {"cdr": {"source": "last", "rectify": False}},
        "imported": "cam.pth",
    }
    options = header["parts"]["classifier"]["options"]
    assert (options["output_stride"], options["drs"], options["delta"]) == (16, True, 0.55)
    assert options["stop_gradient_after"] == 2 and options["freeze_norm"]


def test_refused_tensors_are_named_and_change_nothing():
    state = published_classifier(CAMClassifier(20, "tiny"))
    target = CAMClassifier(20, "tiny")
    before = {key: value.clone() for key, value in target.state_dict().items()}
    for change, sentence in (
        ({"newly_added.0.weight": None}, "lacks the tensor newly_added.0.weight"),
        ({"resnet50.layer3.0.bn2.bias": None}, "lacks the tensor resnet50.layer3.0.bn2.bias"),
        ({"fc.weight": torch.zeros(2)}, "holds the unexpected tensor fc.weight"),
        ({"stage4.0.0.conv2.weight": torch.zeros(64, 64)}, r"stage4.0.0.conv2.weight has shape \(64, 64\)"),
        ({"resnet50.bn1.num_batches_tracked": torch.zeros(2)}, "resnet50.bn1.num_batches_tracked has shape"),
        (
            {"backbone.2.0.0.bn2.bias": torch.ones(48)},
            "the tensors resnet50.layer3.0.bn2.bias and backbone.2.0.0.bn2.bias are one layer's, yet they differ",
        ),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        with pytest.raises(InputError, match=f"cam.pth.*{sentence}"):
            take_tensors(target, changed, released_weights._CLASSIFIER, "cam.pth")
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_counters_of_batches_may_be_absent():
    model, target = filled(CAMClassifier(20, "tiny")), CAMClassifier(20, "tiny")
    state = {key: value for key, value in published_classifier(model).items() if "num_batches" not in key}
    take_tensors(target, state, released_weights._CLASSIFIER, "cam.pth")
    own = model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in target.state_dict().items())


def test_a_reconstruction_net_of_other_classes_is_refused(classifier, tmp_path):
    folder = classifier[2].parent
    torch.save(published_reconstruction(ReconstructionNet(80)), tmp_path / "dec.pth")
    with pytest.raises(InputError, match=r"dec.pth: the tensor main.0.conv.weight has shape \(256, 80, 3, 3\)"):
        import_classifier(folder / "cam.pth", tmp_path / "out.safetensors", reconstruction=tmp_path / "dec.pth")
    assert not (tmp_path / "out.safetensors").exists()


# IRN


@pytest.fixture(scope="module")
def irn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("irn")
    torch.manual_seed(0)
    model = filled(IRN())
    state = published_irn(model)
    # Also under the prefix of data-parallel training.
    torch.save({f"module.{key}": value for key, value in state.items()}, folder / "irn.pth")
    assert main(["import-weights", "irn", str(folder / "irn.pth"), str(folder / "irn.safetensors")]) == 0
    yield model, state, folder / "irn.safetensors"
    for path in folder.iterdir():
        path.unlink()


def released_heads(state, features):
    """The heads of IRN, written with the published names (Ahn et al. 2019); sides must be multiples of 16."""

    def head(name, x, groups, factor=1):
        x = F.group_norm(
            F.conv2d(x, state[f"{name}.0.weight"]), groups, state[f"{name}.1.weight"], state[f"{name}.1.bias"]
        )
        if factor > 1:
            x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        return x.relu()

    edges = [
        head(f"fc_edge{n}", x, 4, factor) for n, x, factor in zip(range(1, 6), features, (1, 1, 2, 4, 4), strict=True)
    ]
    edge = F.conv2d(torch.cat(edges, dim=1), state["fc_edge6.weight"], state["fc_edge6.bias"])
    one, two, three, four, five = features
    deep = [head("fc_dp3", three, 16), head("fc_dp4", four, 16, 2), head("fc_dp5", five, 16, 2)]
    deep = head("fc_dp6", torch.cat(deep, dim=1), 16, 2)
    fused = head("fc_dp7", torch.cat([head("fc_dp1", one, 8), head("fc_dp2", two, 16), deep], dim=1), 16)
    shift = state["mean_shift.running_mean"].view(1, 2, 1, 1)
    return edge, F.conv2d(fused, state["fc_dp7.3.weight"]) - shift


@torch.no_grad()
def test_an_imported_irn_computes_what_the_released_one_does(irn):
    model, state, output = irn
    loaded = load_part(output, "irn", IRN)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    expected = released_heads(state, loaded.backbone(image))
    for own, other in zip(loaded(image), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


def test_irn_refusals():
    state = published_irn(IRN("tiny"))
    shifts = "mean_shift.running_mean and dp_layers.6.4.running_mean"
    for change, sentence in (
        ({"dp_layers.6.4.running_mean": torch.ones(2)}, f"the tensors {shifts} are one layer's, yet they differ"),
        ({"ind_from": torch.zeros(1)}, "holds the unexpected tensor ind_from"),
        ({"fc_dp7.0.weight": torch.zeros(256, 512, 1, 1)}, "fc_dp7.0.weight has shape"),
    ):
        with pytest.raises(InputError, match=sentence):
            take_tensors(
                IRN("tiny"),
                {**state, **change},
                released_weights._IRN,
                "irn.pth",
                derived=released_weights._IRN_DERIVED,
            )


# Segmentation


@torch.no_grad()
def test_an_imported_segmentation_network_computes_what_ours_does(tmp_path):
    torch.manual_seed(0)
    model = filled(DeepLabV2(21))
    torch.save({"net_state_dict": {"network1": published_segmentation(model)}}, tmp_path / "beco.pth")
    output = tmp_path / "segmentation.safetensors"
    assert main(["import-weights", "segmentation", str(tmp_path / "beco.pth"), str(output)]) == 0
    loaded = load_part(output, "segmentation", DeepLabV2)
    image = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), model(image), rtol=1e-4, atol=1e-4)
    own = model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in loaded.state_dict().items())
    options = {"num_classes": 21, "backbone": "resnet101", "output_stride": 8, "rates": [6, 12, 18, 24]}
    header = read_header(output)
    assert header["parts"] == {"segmentation": {"model": "DeepLabV2", "options": options}}
    assert header["facts"] == {"classes": VOC_CLASSES, "imported": "beco.pth"}
    for path in tmp_path.iterdir():
        path.unlink()


@pytest.fixture
def small(monkeypatch):
    """Imports build the demo's backbone, whose tensors have the same names."""
    monkeypatch.setattr(released_weights, "DeepLabV2", lambda **options: DeepLabV2(**{**options, "backbone": "tiny"}))


def test_two_networks_of_other_classes(small, tmp_path):
    models = [filled(DeepLabV2(81, "tiny"), seed) for seed in (0, 1)]
    first, second = (published_segmentation(model) for model in models)
    networks = {"network1": {f"module.{key}": value for key, value in first.items()}, "network2": second}
    torch.save({"net_state_dict": networks, "epoch": 80}, tmp_path / "beco.pth")
    names = [f"class {n}" for n in range(1, 81)]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    import_segmentation(tmp_path / "beco.pth", tmp_path / "out.safetensors", classes=tmp_path / "classes.txt")
    tensors = load_file(tmp_path / "out.safetensors")
    expected = {
        f"{part}.{key}": value
        for part, model in zip(("segmentation", "segmentation_2"), models, strict=True)
        for key, value in model.state_dict().items()
    }
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in tensors.items())
    assert read_header(tmp_path / "out.safetensors")["facts"]["classes"] == names


def test_one_network_from_safetensors_at_another_stride(small, tmp_path):
    state = published_segmentation(DeepLabV2(21, "tiny"))
    save_file(state, tmp_path / "one.safetensors")
    import_segmentation(tmp_path / "one.safetensors", tmp_path / "out.safetensors", output_stride=16)
    parts = read_header(tmp_path / "out.safetensors")["parts"]
    assert list(parts) == ["segmentation"]
    assert parts["segmentation"]["options"]["output_stride"] == 16


def test_the_second_network_is_checked_too(small, tmp_path):
    first, second = (published_segmentation(DeepLabV2(21, "tiny")) for _ in range(2))
    del second["aspp.c3.bias"]
    torch.save({"net_state_dict": {"network1": first, "network2": second}}, tmp_path / "beco.pth")
    with pytest.raises(InputError, match=r"beco.pth lacks the tensor aspp.c3.bias"):
        import_segmentation(tmp_path / "beco.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


# Files


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "x.pth has 3 classes, not VOC's 20; name a file of their names with --classes"),
        (["--classes", "two.txt"], "two.txt names 2 classes, x.pth has 3"),
        (["--classes", "three.txt"], "x.pth lacks the tensor resnet50.conv1.weight"),
    ],
)
def test_class_names_must_fit(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    torch.save({"classifier.weight": torch.zeros(3, 2048, 1, 1)}, "x.pth")
    Path("two.txt").write_text("cat\ndog\n")
    Path("three.txt").write_text("cat\ndog\ncow\n")
    assert main(["import-weights", "classifier", "x.pth", "out.safetensors", *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {sentence}")
    assert not Path("out.safetensors").exists()


@pytest.mark.parametrize(
    ("load", "content", "sentence"),
    [
        (import_classifier, {"x": torch.zeros(1)}, "lacks the tensor classifier.weight"),
        (import_irn, {"x": torch.zeros(1)}, "lacks the tensor mean_shift.running_mean"),
        (import_segmentation, {"x": torch.zeros(1)}, "lacks the tensor aspp.c0.weight"),
        (import_irn, {"epoch": 3}, "epoch is no tensor"),
        (import_irn, [torch.zeros(1)], "holds no dictionary"),
        (import_segmentation, {"net_state_dict": {"network1": {}, "network3": {}}}, "unexpected network network3"),
        (import_segmentation, {"net_state_dict": {"network2": {}}}, "network2 is no tensor"),
    ],
)
def test_other_content_is_refused(tmp_path, load, content, sentence):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=f"x.pth.*{sentence}"):
        load(tmp_path / "x.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path, old):
    sprung = tmp_path / "sprung"
    torch.save({"x": Trap(sprung)}, tmp_path / "x.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(InputError, match=r"x.pth is damaged or holds other objects than tensors"):
        read_checkpoint(tmp_path / "x.pth")
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of that kind",
        b"a list of names",
        b"bird\ncat",
        b"PK\x03\x04 cut",
        pickle.dumps([1, 2], protocol=2)[:5],
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content):
    with pytest.raises(InputError, match=f"{name} does not exist"):
        read_checkpoint(tmp_path / name)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({0: torch.zeros(1)}, "0 is no tensor"),
        ({"net_state_dict": torch.zeros(1)}, "no dictionary of tensors"),
        ({"network1": [torch.zeros(1)]}, "no dictionary of tensors"),
    ],
)
def test_dictionaries_of_other_things_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message):
        import_segmentation(tmp_path / "x.pth", tmp_path / "out.safetensors")
