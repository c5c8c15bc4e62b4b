"""Download of torchvision's weights, and their rewriting as safetensors."""

import hashlib
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from ssc.models import backbone
from ssc.models.networks import IMAGENET_V2
from ssc.models.weights import load_backbone
from ssc.runtime.errors import InputError
from ssc.stages import download_weights
from ssc.stages.download_weights import IMAGENET_FILES, PACKAGES, check_downloads, download_imagenet, shipped_weights


def same_tensors(a, b):
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder served as file:// URL; `publish` puts a .pth there under the name of its checksum."""
    folder = tmp_path / "site"
    folder.mkdir()

    def publish(content, *, digits=None):
        path = folder / "tiny.pth"
        torch.save(content, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path = path.rename(folder / f"tiny-{digits or digest[:8]}.pth")
        monkeypatch.setattr(download_weights, "IMAGENET_FILES", {"tiny": path.name})
        return path

    publish.url = folder.as_uri() + "/"
    return publish


def test_download_writes_safetensors_that_a_backbone_loads(site, tmp_path):
    original = backbone("tiny").state_dict()
    site({**original, "fc.weight": torch.arange(6.0).view(2, 3).T})
    output = tmp_path / "out" / "tiny.safetensors"
    download_imagenet("tiny", output, url=site.url)
    assert [path.name for path in output.parent.iterdir()] == ["tiny.safetensors"]
    assert set(load_file(output)) == set(original)  # without the head
    model = backbone("tiny")
    load_backbone(model, output)
    assert same_tensors(model.state_dict(), original)


def test_a_wrong_checksum_is_refused_and_the_old_file_stays(site, tmp_path):
    site(backbone("tiny").state_dict(), digits="0" * 8)
    output = tmp_path / "out" / "tiny.safetensors"
    output.parent.mkdir()
    output.write_text("old")
    with pytest.raises(InputError, match=r"SHA-256 starts with [0-9a-f]{8}, not 00000000"):
        download_imagenet("tiny", output, url=site.url)
    assert [path.name for path in output.parent.iterdir()] == ["tiny.safetensors"]
    assert output.read_text() == "old"


def test_a_failed_download_leaves_nothing(site, tmp_path):
    site({}).unlink()
    output = tmp_path / "out" / "tiny.safetensors"
    hint = "run `ssc import-weights backbone <file> .*tiny.safetensors --network tiny`"
    with pytest.raises(InputError, match=f"Could not fetch file://.*tiny-.*{hint}"):
        download_imagenet("tiny", output, url=site.url)
    assert list(output.parent.iterdir()) == []


def test_a_download_with_code_in_it_is_not_run(site, tmp_path):
    site({"conv1.weight": Trap(tmp_path / "sprung")})
    output = tmp_path / "out" / "tiny.safetensors"
    with pytest.raises(InputError, match="holds other objects than tensors"):
        download_imagenet("tiny", output, url=site.url)
    assert not (tmp_path / "sprung").exists() and list(output.parent.iterdir()) == []


def test_unknown_imagenet_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="No ImageNet weights are known for tiny; set its weights to warm_start"):
        download_imagenet("tiny", tmp_path / "x.safetensors")


def test_second_weights_are_known_of_the_networks_that_the_configuration_may_say_it_of():
    assert {name.removesuffix("_v2") for name in IMAGENET_FILES if name.endswith("_v2")} == set(IMAGENET_V2)


@pytest.mark.parametrize("name", PACKAGES)
def test_an_installed_package_is_taken_before_the_network(name, tmp_path):
    pytest.importorskip(PACKAGES[name])
    output = tmp_path / f"{name}.safetensors"
    download_imagenet(name, output)
    network = backbone(name, output_stride=32)
    load_backbone(network, output)
    checkpoint = torch.load(shipped_weights(name), weights_only=True)
    # Two tensors of the first port's names, the last block's, whose places in timm's network are known.
    last = max(int(key.split(".")[1]) for key in checkpoint if key.startswith("_blocks."))
    for theirs, ours in (("_project_conv.weight", "conv_pwl.weight"), ("_bn2.running_var", "bn3.running_var")):
        expected = checkpoint[f"_blocks.{last}.{theirs}"]
        assert torch.equal(network.state_dict()[f"network.blocks.6.0.{ours}"], expected)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in place of the server of timm's files, with the record of their checksums beside them."""
    for kind in ("resolve", "raw"):
        (tmp_path / "hub" / kind).mkdir(parents=True)
    file = tmp_path / "hub" / "resolve" / "model.safetensors"
    whole = timm.create_model("convnext_atto")
    save_file(whole.state_dict(), file)
    record = tmp_path / "hub" / "raw" / "model.safetensors"
    record.write_text(f"version 1\noid sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\nsize 1\n")
    url = (tmp_path / "hub" / "resolve").as_uri()
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda repository, name: f"{url}/{name}")
    return record, whole


def test_weights_of_timms_are_fetched_and_compared_with_their_record(hub, tmp_path):
    output = tmp_path / "out" / "convnext_atto.safetensors"
    download_imagenet("convnext_atto", output)
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    expected = hub[1].state_dict()["stages.3.blocks.1.mlp.fc1.weight"]
    assert torch.equal(load_file(output)["network.stages_3.blocks.1.mlp.fc1.weight"], expected)


def test_weights_of_timms_that_differ_from_their_record_are_refused(hub, tmp_path):
    hub[0].write_text("oid sha256:" + "0" * 64)
    with pytest.raises(InputError, match="SHA-256 starts with"):
        download_imagenet("convnext_atto", tmp_path / "x.safetensors")
    hub[0].unlink()
    with pytest.raises(InputError, match=r"Could not fetch file.*raw/model.safetensors.*import-weights backbone"):
        download_imagenet("convnext_atto", tmp_path / "x.safetensors")


def test_all_that_cannot_be_fetched_is_told_at_once_with_the_ways_out(site, hub, tmp_path):
    site({})
    there = tmp_path / "there.safetensors"
    there.touch()
    check_downloads({"tiny": tmp_path / "tiny", "resnet50": there}, url=site.url)
    (tmp_path / "hub" / "resolve" / "model.safetensors").unlink()
    missing = {name: tmp_path / f"{name}.safetensors" for name in ("tiny", "convnext_atto", "vgg19", "vgg16_v2")}
    monkeypatched = {"tiny": "tiny-0.pth", "vgg19": "vgg19-0.pth", "vgg16_v2": "vgg16-0.pth"}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError) as told:
        patch.setattr(download_weights, "IMAGENET_FILES", monkeypatched)
        check_downloads(missing, url=site.url)
    text = str(told.value)
    for name, file in missing.items():
        network = name.removesuffix("_v2")
        assert f"ssc import-weights backbone <the file> {file} --network {network}" in text
    assert "weights: warm_start" in text and "weights: none" in text and "/resolve/model.safetensors" in text
