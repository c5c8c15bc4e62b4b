from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from ssc.archive import Archive, write
from ssc.data.index import Index, Row, write_index
from ssc.data.photos import read_image
from ssc.data.transforms import normalise, resize_image, scaled_views
from ssc.models.classifier import CAMClassifier
from ssc.models.deeplab import DeepLabV2
from ssc.models.irn import IRN
from ssc.models.weights import save_weights
from ssc.runtime.errors import InputError
from ssc.stages import batching
from ssc.stages.batching import infer, pixel_budget, stack_views
from ssc.stages.cams import write_cams
from ssc.stages.predictions import write_predictions
from ssc.stages.pseudo_labels import write_pseudo_labels
from ssc.workflow.settings import CAMs, Prediction, PseudoLabels

SIZES = [(20, 28), (20, 28), (28, 20), (20, 28), (24, 24), (28, 20)]
LABELS = [(1, 2), (2,), (1,), (), (2,), (1, 2)]


@pytest.fixture
def rows(tmp_path) -> list[Row]:
    rng = np.random.default_rng(0)
    found = []
    for number, ((height, width), labels) in enumerate(zip(SIZES, LABELS, strict=True)):
        path = tmp_path / f"{number}.png"
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(path)
        found.append(Row(id=str(number), split="train", image=str(path), mask="", labels=labels))
    write_index(tmp_path / "index.tsv", Index(["orbi", "quado"], found))
    return found


def test_photos_come_in_order_with_their_views(rows):
    photos = list(infer(lambda batch: batch, rows, partial(scaled_views, scales=[1.0, 0.5]), pixels=0, threads=2))
    assert [photo.row for photo in photos] == rows
    for photo, (height, width) in zip(photos, SIZES, strict=True):
        np.testing.assert_array_equal(photo.image, read_image(photo.row.image))
        assert torch.equal(photo.views[0], normalise(photo.image))
        assert torch.equal(photo.views[1], normalise(resize_image(photo.image, (height // 2, width // 2))))


def test_networks_see_photos_of_many_sizes_without_cudnn(rows):
    """It prepares its kernels for each of them, which takes longer than it saves."""
    enabled = torch.backends.cudnn.enabled
    views = partial(scaled_views, scales=[1.0])
    seen = infer(lambda batch: [torch.backends.cudnn.enabled] * len(batch), rows, views, pixels=10**6)
    assert set(seen) == {False}
    assert torch.backends.cudnn.enabled == enabled


@pytest.mark.parametrize(
    ("pixels", "batches"),
    [
        (0, ["0", "1", "2", "3", "4", "5"]),
        (1, ["0", "1", "2", "3", "4", "5"]),  # a photo larger than the budget goes alone
        (2 * 1260 * 3 - 1, ["01", "25", "3", "4"]),
        (10**6, ["013", "25", "4"]),
    ],
)
def test_batches_of_equal_size_stay_within_the_budget(rows, pixels, batches):
    seen = []

    def network(photos):
        seen.append("".join(photo.row.id for photo in photos))
        # Views at scale 1 have 560 pixels, each of both mirror images at scale 1.5 has 1260.
        first, second = stack_views(photos, torch.device("cpu"))
        assert first.shape == (len(photos), 3, *photos[0].image.shape[:2]) and second.shape[0] == len(photos)
        assert len(photos) == 1 or 2 * second.shape[0] * second[0, 0].numel() <= pixels
        return [photo.row.id for photo in photos]

    assert list(infer(network, rows, partial(scaled_views, scales=[1.0, 1.5]), pixels=pixels)) == [
        row.id for row in rows
    ]
    assert seen == batches


def test_few_photos_are_read_ahead(rows, monkeypatch):
    read, many = [], rows * 20
    monkeypatch.setattr(batching, "read_image", lambda path: read.append(path) or read_image(path))
    views = partial(scaled_views, scales=[1.0])
    for done, _ in enumerate(infer(lambda batch: batch, many, views, pixels=10**6, threads=2), start=1):
        assert len(read) <= done + 16 + 4 + 1


def test_batches_are_for_gpus():
    assert pixel_budget(torch.device("cpu")) == 0
    assert pixel_budget(torch.device("cuda")) > 2 * 750 * 1000  # a VOC photo at twice its size and its mirror image


# The stages: what they write by batches is what they write photo by photo.


def write_stage(stage: str, folder, output) -> None:
    torch.manual_seed(3)
    options = {"index": folder / "index.tsv", "shard": "1-of-1", "device": "cpu", "precision": "fp32", "threads": 2}
    weights = folder / f"{stage}.safetensors"
    output.mkdir()
    if stage == "cams":
        arguments = {"num_classes": 2, "backbone": "tiny", "output_stride": 8}
        save_weights(weights, {"classifier": (CAMClassifier(**arguments), arguments)})
        settings = CAMs(scales=[1.0, 1.5])
        write_cams(weights=weights, superpixels=None, output=output / "cams.zip", settings=settings, **options)
    elif stage == "walk":
        arguments = {"backbone": "tiny", "output_stride": 8}
        save_weights(weights, {"irn": (IRN(**arguments), arguments)})
        with write(folder / "cams.zip") as out:
            for number, ((height, width), labels) in enumerate(zip(SIZES, LABELS, strict=True)):
                maps = np.random.default_rng(number).random((len(labels), height // 4, width // 4))
                out.add_arrays(str(number), classes=np.array(labels, np.int16), cams=maps.astype(np.float16))
        settings = PseudoLabels(scale=1.5, radius=3, exp_times=4, threshold=0.5)
        files = {"cams": folder / "cams.zip", "output": output / "labels.zip", "confidence": output / "masks.zip"}
        write_pseudo_labels(weights=weights, settings=settings, **files, **options)
    else:
        arguments = {"num_classes": 3, "backbone": "tiny", "output_stride": 4, "rates": [1, 2]}
        model = DeepLabV2(**arguments)
        with torch.no_grad():  # the initial logits are near 0; these decide
            for branch in model.aspp:
                branch.weight *= 20
        save_weights(weights, {"segmentation": (model, arguments)})
        settings = Prediction(scales=[0.75, 1.5], crf={"iterations": 2})
        files = {"output": output / "labels.zip", "steps": output / "steps.zip"}
        write_predictions(split="train", weights=weights, settings=settings, **files, **options)


STAGES = {"cams": "ssc.stages.cams", "walk": "ssc.stages.pseudo_labels", "predictions": "ssc.stages.predictions"}


@pytest.mark.parametrize("stage", STAGES)
def test_batches_write_what_single_photos_give(stage, rows, tmp_path, monkeypatch):
    write_stage(stage, tmp_path, tmp_path / "single")
    sizes = []

    def counted(photos, device):
        sizes.append(len(photos))
        return stack_views(photos, device)

    monkeypatch.setattr(f"{STAGES[stage]}.stack_views", counted)
    monkeypatch.setattr(f"{STAGES[stage]}.pixel_budget", lambda device: 10**6)
    write_stage(stage, tmp_path, tmp_path / "batched")
    assert sizes == [3, 2, 1]
    for path in (tmp_path / "single").iterdir():
        single, batched = Archive(path), Archive(tmp_path / "batched" / path.name)
        assert list(single._members) == list(batched._members)  # in the order of the index
        assert list(dict.fromkeys(name[-5] for name in single._members)) == [row.id for row in rows]
        for image_id in single.ids():
            if stage == "cams":
                one, other = single.arrays(image_id), batched.arrays(image_id)
                np.testing.assert_array_equal(one["classes"], other["classes"])
                np.testing.assert_allclose(one["cams"], other["cams"], atol=1e-3)
                assert len(one["cams"]) == 0 or one["cams"].max() > 0.9
            else:
                one, other = single.labels(image_id), batched.labels(image_id)
                assert (one == other).mean() > 0.99  # rounding may turn a tie


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("pixels", [0, 10**6])
def test_a_damaged_photo_ends_the_shard(stage, pixels, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{STAGES[stage]}.pixel_budget", lambda device: pixels)
    (tmp_path / "4.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"4\.png cannot be read"):
        write_stage(stage, tmp_path, tmp_path / "out")
    assert all(path.name.startswith(".") for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("stage", STAGES)
def test_a_failing_writer_ends_the_shard(stage, rows, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise InputError("The disk is full.")

    monkeypatch.setattr("ssc.archive.encode_arrays" if stage == "cams" else "ssc.archive.encode_labels", full)
    with pytest.raises(InputError, match="disk is full"):
        write_stage(stage, tmp_path, tmp_path / "out")
    assert all(path.name.startswith(".") for path in (tmp_path / "out").iterdir())


def test_padding_counts_in_the_budget(rows):
    seen = []
    views = partial(scaled_views, scales=[1.0])
    side = max(max(size) for size in SIZES) * 2
    list(infer(lambda batch: seen.append(len(batch)) or batch, rows, views, pixels=2 * side**2 * 2, pad=side))
    assert max(seen) == 2
    seen.clear()
    list(infer(lambda batch: seen.append(len(batch)) or batch, rows, views, pixels=2 * side**2 * 2))
    assert max(seen) == 3
