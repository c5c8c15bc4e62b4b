"""The epoch that validation masks choose, against one evaluation per epoch."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.data.transforms import normalise
from ssc.models import DeepLabV2
from ssc.models.deeplab import evaluating
from ssc.models.weights import load_part
from ssc.training.run import Run
from ssc.training.selection import BestEpoch
from tests.unit.training.trainings import options, train

SIDE = 32


def miou_by_hand(networks, data) -> float:
    """mIoU over the validation photos, each resized to a square with its mask; labels of the mean logits."""
    masks, hits, found, there = Archive(*data.masks), np.zeros(3), np.zeros(3), np.zeros(3)
    for row in read_index(data.index).split("val"):
        photo = Image.fromarray(read_image(row.image)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        with torch.no_grad():
            logits = sum(network(normalise(np.asarray(photo))[None]) for network in networks)
        full = torch.nn.functional.interpolate(logits, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        labels, mask = full[0].argmax(dim=0).numpy(), masks.labels(row.id)
        height, width = mask.shape
        for y, x in np.ndindex(SIDE, SIDE):
            target = mask[int((y + 0.5) * height / SIDE), int((x + 0.5) * width / SIDE)]
            if target != 255:
                hits[target] += labels[y, x] == target
                found[labels[y, x]] += 1
                there[target] += 1
    union = found + there - hits
    return float(np.mean((hits / union)[union > 0]))


@pytest.fixture
def networks() -> list[DeepLabV2]:
    torch.manual_seed(0)
    found = [DeepLabV2(3, "tiny", rates=(1, 2)).train() for _ in range(2)]
    with torch.no_grad():
        for network in found:
            for branch in network.aspp:
                branch.weight *= 20
    return found


def test_the_best_networks_so_far_are_kept(data, networks, tmp_path):
    run = Run(**options(tmp_path / "x.safetensors"))
    rows = read_index(data.index).split("val")
    best = BestEpoch(networks, rows=rows, masks=Archive(*data.masks), classes=3, side=SIDE)
    states, scores = [], []
    for seed in range(5):
        torch.manual_seed(seed)
        with torch.no_grad():
            for network in networks:
                for parameter in network.parameters():
                    parameter += 0.05 * torch.randn_like(parameter)
        best.consider(networks, run)
        assert all(network.training for network in networks)
        for network in networks:
            network.eval()
        scores.append(miou_by_hand(networks, data))
        states.append(networks[0].state_dict()["aspp.0.weight"].clone())
        for network in networks:
            network.train()
        top = int(np.argmax(scores))
        assert best.miou.item() == pytest.approx(scores[top], abs=1e-6)
        torch.testing.assert_close(best.networks[0].state_dict()["aspp.0.weight"], states[top])
    assert len({round(score, 3) for score in scores}) > 2 and top != 4  # a later one was worse


@pytest.mark.parametrize("kind", ["segmentation", "cotraining"])
def test_a_training_ends_with_its_best_epoch(data, tmp_path, monkeypatch, kind):
    seen, consider = [], BestEpoch.consider

    def measured(best, networks, run):
        consider(best, networks, run)
        with evaluating(networks):
            seen.append(miou_by_hand(networks, data))

    monkeypatch.setattr(BestEpoch, "consider", measured)
    # A rate that destroys what earlier epochs learned.
    train(kind, data, tmp_path / "x.safetensors", epochs=6, lr=0.5, head_lr=0.5, select_on_val=True)
    names = ["segmentation", "segmentation_2"] if kind == "cotraining" else ["segmentation"]
    found = [load_part(tmp_path / "x.safetensors", name, DeepLabV2) for name in names]
    assert len(seen) == 6 and seen[-1] < max(seen)  # the last is another
    assert miou_by_hand(found, data) == pytest.approx(max(seen), abs=1e-6)
