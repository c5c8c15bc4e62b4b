"""Checkpoints of whole networks become backbones that give their maps."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from ssc.cli import main
from ssc.interop.backbone_weights import import_backbone
from ssc.models import backbone
from ssc.models.perceptual import VGG19Features
from ssc.models.timm_networks import whole_stride
from ssc.models.weights import load_backbone
from ssc.runtime.errors import InputError
from tests.unit.models.networks_by_hand import on_meta, rand, randomised, torchvision_stages


@pytest.mark.parametrize("name", ["convnext_atto", "deit_tiny_patch16_224", "resnet18.a1_in1k"])
def test_a_checkpoint_of_timms_becomes_a_backbone(name, tmp_path):
    whole = randomised(timm.create_model(name)).eval()
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "x.pth")
    import_backbone(tmp_path / "x.pth", tmp_path / "own.safetensors", name)
    own = backbone(name, output_stride=whole_stride(name)).eval()
    load_backbone(own, tmp_path / "own.safetensors")
    image = rand(1, 3, 224, 224)
    last = whole.forward_intermediates(image, indices=1, norm=name.startswith("deit"), intermediates_only=True)[-1]
    torch.testing.assert_close(own(image)[-1], last, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    torch.save(timm.create_model("convnext_atto").state_dict(), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"x.pth is no checkpoint of timm's regnety_002; the first tensor"):
        import_backbone(tmp_path / "x.pth", tmp_path / "own.safetensors", "regnety_002")
    assert not (tmp_path / "own.safetensors").exists()


def test_a_checkpoint_of_torchvisions_becomes_a_backbone_where_a_run_looks_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = randomised(torchvision.models.resnet18(weights=None))
    torch.save(whole.state_dict(), "resnet18-0123abcd.pth")
    assert main(["import-weights", "backbone", "resnet18-0123abcd.pth"]) == 0
    own = backbone("resnet18", output_stride=32).eval()
    load_backbone(own, "resources/weights/resnet18.safetensors")
    image = rand(1, 3, 64, 64)
    for ours, theirs in zip(own(image), torchvision_stages(whole, image), strict=True):
        assert torch.equal(ours, theirs)


def test_a_loss_networks_checkpoint_is_taken_too(tmp_path):
    whole = randomised(on_meta(torchvision.models.vgg19, weights=None).features)
    torch.save({f"features.{key}": value for key, value in whole.state_dict().items()}, tmp_path / "x.pth")
    import_backbone(tmp_path / "x.pth", tmp_path / "vgg19.safetensors", "vgg19")
    image = rand(1, 3, 32, 32)
    for taps, layers in (("relu1", 2), ("pool", 3)):
        own = VGG19Features(taps=taps, weights=tmp_path / "vgg19.safetensors").eval()
        assert torch.equal(own(image)[0], whole[:layers](image))


def test_a_file_of_torchvisions_second_weights_gets_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(randomised(torchvision.models.resnet50(weights=None)).state_dict(), "resnet50-11ad3fa6.pth")
    assert main(["import-weights", "backbone", "resnet50-11ad3fa6.pth"]) == 0
    assert [path.name for path in (tmp_path / "resources" / "weights").glob("[!.]*")] == ["resnet50_v2.safetensors"]


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"num_classes": 7}])
def test_the_head_of_a_checkpoint_may_be_absent_or_of_other_classes(tmp_path, options):
    whole = timm.create_model("convnext_atto", **options)
    torch.save(whole.state_dict(), tmp_path / "x.pth")
    import_backbone(tmp_path / "x.pth", tmp_path / "own.safetensors", "convnext_atto")
    own = backbone("convnext_atto", output_stride=32)
    load_backbone(own, tmp_path / "own.safetensors")
    key = "stages.3.blocks.1.mlp.fc1.weight"
    assert torch.equal(own.state_dict()["network.stages_3.blocks.1.mlp.fc1.weight"], whole.state_dict()[key])


def test_a_checkpoint_of_timms_in_the_place_of_a_weight_file_is_told(tmp_path):
    save_file(timm.create_model("convnext_atto").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="checkpoint of timm's, which `ssc import-weights backbone` takes"):
        load_backbone(backbone("convnext_atto"), tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("network", "told"),
    [("resnet50", "lacks the tensor layer1.0.conv3.weight|has shape"), ("resnet19", "There is no network 'resnet19'")],
)
def test_another_networks_name_is_told(tmp_path, network, told):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "x.pth")
    with pytest.raises(InputError, match=told):
        import_backbone(tmp_path / "x.pth", tmp_path / "own.safetensors", network)
