"""Average precision of a classifier, against its logits one photo at a time."""

import json

import pytest
import torch

from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.data.transforms import scaled_view
from ssc.models.classifier import CAMClassifier
from ssc.models.weights import save_weights
from ssc.stages.classifier_scores import evaluate_classifier

OPTIONS = {"num_classes": 3, "backbone": "tiny", "output_stride": 8}


@pytest.mark.parametrize("drs", [True, False])
def test_scores_are_the_mean_logits_of_photo_and_mirror_image(tiny_set, tmp_path, drs):
    torch.manual_seed(0)
    model = CAMClassifier(**OPTIONS).eval()
    save_weights(tmp_path / "w.safetensors", {"classifier": (model, OPTIONS)})
    output = tmp_path / "scores.json"
    evaluate_classifier(
        index=tiny_set, split="train", weights=tmp_path / "w.safetensors", output=output, drs=drs, device="cpu"
    )
    index = read_index(tiny_set)
    rows = [row for row in index.split("train") if row.labels]
    model.drs_at_inference = drs
    scores = []
    with torch.no_grad():
        for row in rows:
            view = scaled_view(read_image(row.image), 1.0)[None]
            scores.append(((model(view)[0] + model(view.flip(-1))[0]) / 2)[0].tolist())
    found = json.loads(output.read_text())
    assert found["images"] == len(rows) >= 2 and list(found["ap"]) == list(index.classes)
    expected = {}
    for k, name in enumerate(index.classes):
        pairs = sorted(((own[k], k + 1 in row.labels) for own, row in zip(scores, rows, strict=True)), reverse=True)
        hits = [number for number, (_, true) in enumerate(pairs, start=1) if true]
        expected[name] = sum(rank / number for rank, number in enumerate(hits, start=1)) / len(hits) if hits else None
    assert found["ap"] == {name: value if value is None else pytest.approx(value) for name, value in expected.items()}
    known = [value for value in expected.values() if value is not None]
    assert found["map"] == pytest.approx(sum(known) / len(known))


def test_without_labelled_photos_there_is_no_mean(tiny_set, tmp_path):
    save_weights(tmp_path / "w.safetensors", {"classifier": (CAMClassifier(**OPTIONS), OPTIONS)})
    output = tmp_path / "scores.json"
    evaluate_classifier(
        index=tiny_set, split="test", weights=tmp_path / "w.safetensors", output=output, drs=True, device="cpu"
    )
    found = json.loads(output.read_text())
    assert found["images"] == 0 and found["map"] is None
