"""Download of torchvision's weights, and their rewriting as safetensors."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ssc.models import backbone
from ssc.models.networks import IMAGENET_V2
from ssc.models.weights import load_backbone
from ssc.runtime.errors import InputError
from ssc.stages import download_weights
from ssc.stages.download_weights import IMAGENET_FILES, download_imagenet


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
    np.testing.assert_array_equal(load_file(output)["fc.weight"], [[0, 3], [1, 4], [2, 5]])
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
    with pytest.raises(InputError, match=r"Could not fetch file://.*tiny-.*put a safetensors file at .*by hand"):
        download_imagenet("tiny", output, url=site.url)
    assert list(output.parent.iterdir()) == []


def test_a_download_with_code_in_it_is_not_run(site, tmp_path):
    site({"conv1.weight": Trap(tmp_path / "sprung")})
    output = tmp_path / "out" / "tiny.safetensors"
    with pytest.raises(pickle.UnpicklingError):
        download_imagenet("tiny", output, url=site.url)
    assert not (tmp_path / "sprung").exists() and list(output.parent.iterdir()) == []


def test_unknown_imagenet_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="'tiny'; known are resnet18, resnet34, resnet50, resnet50_v2"):
        download_imagenet("tiny", tmp_path / "x.safetensors")


def test_second_weights_are_known_of_the_networks_that_the_configuration_may_say_it_of():
    assert {name.removesuffix("_v2") for name in IMAGENET_FILES if name.endswith("_v2")} == set(IMAGENET_V2)
