"""Checkpoints of whole networks become backbones that give their maps."""

import pytest
import timm
import torch
import torchvision

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
    own, image = VGG19Features(weights=tmp_path / "vgg19.safetensors").eval(), rand(1, 3, 32, 32)
    assert torch.equal(own(image)[0], whole[:2](image))


@pytest.mark.parametrize(
    ("network", "told"),
    [("resnet50", "lacks the tensor layer1.0.conv3.weight|has shape"), ("resnet19", "There is no network 'resnet19'")],
)
def test_another_networks_name_is_told(tmp_path, network, told):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "x.pth")
    with pytest.raises(InputError, match=told):
        import_backbone(tmp_path / "x.pth", tmp_path / "own.safetensors", network)
