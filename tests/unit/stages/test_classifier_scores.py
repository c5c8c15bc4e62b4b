"""Average precision of a classifier, against its logits one photo at a time."""

import json
from dataclasses import replace

import pytest
import torch

from ssc.data.index import Index, read_index, write_parts
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
    evaluate_classifier(indices=[tiny_set], weights=tmp_path / "w.safetensors", output=output, drs=drs, device="cpu")
    index = read_index(tiny_set)
    rows = [row for row in index.split("train") if row.labels]
    model.drs_at_inference = drs
    scores = []
    with torch.no_grad():
        for row in rows:
            view = scaled_view(read_image(row.image), 1.0)[None]
            scores.append(((model(view)[0] + model(view.flip(-1))[0]) / 2)[0].tolist())
    found = json.loads(output.read_text())
    assert found["split"] == "train" and found["images"] == len(rows) >= 2 and list(found["ap"]) == list(index.classes)
    expected = {}
    for k, name in enumerate(index.classes):
        pairs = sorted(((own[k], k + 1 in row.labels) for own, row in zip(scores, rows, strict=True)), reverse=True)
        hits = [number for number, (_, true) in enumerate(pairs, start=1) if true]
        expected[name] = sum(rank / number for rank, number in enumerate(hits, start=1)) / len(hits) if hits else None
    assert found["ap"] == {name: value if value is None else pytest.approx(value) for name, value in expected.items()}
    known = [value for value in expected.values() if value is not None]
    assert found["map"] == pytest.approx(sum(known) / len(known))
    # Each of the classes is on one of the photos alone.
    guessing = found["guessing"]
    assert guessing["classes"] == list(index.classes) and guessing["map"] == found["map"]
    assert guessing["chance"] == pytest.approx((1 + 1 / 2) / 2, abs=0.05) and guessing["chance"] < guessing["luck"] <= 1


@pytest.mark.parametrize(
    ("labels", "split", "images"),
    [({"val": (2,), "train": (1,)}, "val", 1), ({"train": (1,)}, "train", 2), ({}, None, 0)],
)
def test_the_first_split_with_labels_is_scored(tiny_set, tmp_path, labels, split, images):
    save_weights(tmp_path / "w.safetensors", {"classifier": (CAMClassifier(**OPTIONS), OPTIONS)})
    (photo, *_), classes = read_index(tiny_set).rows, read_index(tiny_set).classes
    names = {"val": "v", "train": "tu"}
    for own, ids in names.items():
        rows = [replace(photo, id=name, split=own, labels=labels.get(own, ())) for name in ids]
        write_parts(tmp_path / "index.tsv", Index(classes, rows), shards=1)
        (tmp_path / "index" / f"{own}.tsv").rename(tmp_path / "index" / f"{own}-photos.tsv")
    output = tmp_path / "scores.json"
    evaluate_classifier(
        indices=[tmp_path / "index" / f"{own}-photos.tsv" for own in names],
        weights=tmp_path / "w.safetensors",
        output=output,
        drs=True,
        device="cpu",
    )
    found = json.loads(output.read_text())
    assert (found["split"], found["images"]) == (split, images)
    if split:
        label = classes[labels[split][0] - 1]
        assert found["map"] == found["ap"][label] == 1
    else:
        assert found["map"] is None and set(found["ap"].values()) == {None}
    assert found["guessing"] is None  # no class is on some of the photos alone
