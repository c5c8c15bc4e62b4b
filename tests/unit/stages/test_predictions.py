import numpy as np
import pytest
import torch

from ssc.archive import Archive
from ssc.data.index import Index, Row, read_index, write_index
from ssc.data.transforms import read_image
from ssc.models.deeplab import DeepLabV2
from ssc.models.weights import save_weights
from ssc.prediction import predict_steps
from ssc.stages.predictions import write_predictions
from ssc.workflow.experiments import step_names

CLASSES = 4
OPTIONS = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 4, "rates": [1, 2]}
CRF = {
    "enabled": True,
    "iterations": 3,
    "gaussian_sxy": 1,
    "gaussian_weight": 3,
    "bilateral_sxy": 67,
    "bilateral_srgb": 3,
    "bilateral_weight": 4,
}


def decided(seed: int) -> DeepLabV2:
    torch.manual_seed(seed)
    model = DeepLabV2(**OPTIONS).eval()
    with torch.no_grad():  # the initial logits are near 0; these decide
        for branch in model.aspp:
            branch.weight *= 20
    return model


@pytest.fixture(scope="module")
def model() -> DeepLabV2:
    return decided(0)


def settings(*, scales=(1.0,), flip=True, crf=False) -> dict:
    return {"scales": list(scales), "flip": flip, "crf": {**CRF, "enabled": crf}}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["single scale", "single scale + flip"]),
        ({"flip": False}, ["single scale"]),
        ({"flip": False, "crf": True}, ["single scale", "single scale + CRF"]),
        ({"scales": (1.0, 0.75), "flip": False}, ["single scale", "multi-scale"]),
        (
            {"scales": (0.5, 0.75), "crf": True},
            ["single scale", "multi-scale", "multi-scale + flip", "multi-scale + flip + CRF"],
        ),
    ],
)
def test_steps_are_named_by_what_they_add(model, photo, options, names):
    assert step_names(settings(**options)) == names
    assert list(predict_steps([model], photo, settings(**options))) == names


def test_a_shard_of_a_split_is_predicted(model, tiny_set, tmp_path):
    save_weights(tmp_path / "w.safetensors", {"segmentation": (model, OPTIONS)})
    table = read_index(tiny_set)
    test_rows = [Row(id=f"t{row.id}", split="test", image=row.image, mask="", labels=()) for row in table.rows]
    write_index(tmp_path / "index.tsv", Index(table.classes, [*table.rows, *test_rows]))
    for shard in ("1-of-2", "2-of-2"):
        write_predictions(
            index=tmp_path / "index.tsv",
            split="test",
            shard=shard,
            weights=tmp_path / "w.safetensors",
            output=tmp_path / f"{shard}.zip",
            steps=tmp_path / f"steps-{shard}.zip",
            settings=settings(scales=(1.0, 0.75)),
            device="cpu",
        )
    written = Archive(tmp_path / "1-of-2.zip", tmp_path / "2-of-2.zip")
    steps = Archive(tmp_path / "steps-1-of-2.zip", tmp_path / "steps-2-of-2.zip")
    assert written.ids() == ["ta", "tb", "tc"]
    assert steps.ids() == [f"{name}/{row}" for name in ("multi-scale", "single scale") for row in written.ids()]
    for row in test_rows:
        expected = predict_steps([model], read_image(row.image), settings(scales=(1.0, 0.75)))
        np.testing.assert_array_equal(written.labels(row.id), expected.pop("multi-scale + flip"))
        for name, labels in expected.items():
            np.testing.assert_array_equal(steps.labels(f"{name}/{row.id}"), labels)
