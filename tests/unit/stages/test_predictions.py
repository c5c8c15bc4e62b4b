import numpy as np
import pytest
import torch

from ssc.archive import Archive
from ssc.data.index import Index, Row, read_index, write_index
from ssc.data.photos import read_image
from ssc.models.deeplab import DeepLabV2
from ssc.models.weights import save_weights
from ssc.prediction import predict_steps
from ssc.stages.predictions import write_predictions
from ssc.workflow.settings import Prediction

CLASSES = 4
OPTIONS = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 4, "rates": [1, 2]}


@pytest.fixture(scope="module")
def model() -> DeepLabV2:
    torch.manual_seed(0)
    model = DeepLabV2(**OPTIONS).eval()
    with torch.no_grad():  # the initial logits are near 0; these decide
        for branch in model.aspp:
            branch.weight *= 20
    return model


@pytest.mark.parametrize("crf", [False, True])
def test_a_shard_of_a_split_is_predicted(model, tiny_set, tmp_path, crf):
    settings = Prediction(scales=[1.0, 0.75], crf={"enabled": crf, "iterations": 3})
    names = ["single scale", "multi-scale", "multi-scale + flip", "multi-scale + flip + CRF"][: 4 if crf else 3]
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
            settings=settings,
            device="cpu",
        )
    written = Archive(tmp_path / "1-of-2.zip", tmp_path / "2-of-2.zip")
    steps = Archive(tmp_path / "steps-1-of-2.zip", tmp_path / "steps-2-of-2.zip")
    assert written.ids() == ["ta", "tb", "tc"]
    assert steps.ids() == sorted(f"{name}/{row}" for name in names[:-1] for row in written.ids())
    for row in test_rows:
        options = {"iterations": 3, "gaussian": (1, 3), "bilateral": (67, 3, 4)} if crf else None
        expected = predict_steps([model], read_image(row.image), scales=[1.0, 0.75], crf=options)
        assert len(expected) == len(names)
        np.testing.assert_array_equal(written.labels(row.id), expected.pop())
        for name, labels in zip(names, expected, strict=False):
            np.testing.assert_array_equal(steps.labels(f"{name}/{row.id}"), labels)
