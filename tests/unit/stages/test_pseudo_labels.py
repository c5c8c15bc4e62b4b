import math

import numpy as np
import pytest
import torch
from PIL import Image

from ssc import archive
from ssc.affinity import random_walk
from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.models.irn import IRN
from ssc.models.weights import save_weights
from ssc.pseudo_labels import edge_map
from ssc.stages import pseudo_labels as stage
from ssc.stages.pseudo_labels import write_pseudo_labels
from ssc.workflow.settings import PseudoLabels

WALK = PseudoLabels(radius=3, exp_times=4, threshold=0.6)
IRN_OPTIONS = {"backbone": "tiny", "output_stride": 8}


@pytest.fixture(scope="module")
def irn() -> IRN:
    torch.manual_seed(0)
    model = IRN(**IRN_OPTIONS).eval()
    with torch.no_grad():  # spread the edges over 0..1
        model.edge_fuse.weight *= 5
    return model


def smooth(rng: np.random.Generator, count: int, height: int, width: int) -> torch.Tensor:
    """Random maps in 0..1 that vary slowly."""
    coarse = torch.from_numpy(rng.random((1, count, 3, 4)))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0].float()


@pytest.fixture
def cam_archive(tiny_set, tmp_path):
    rng = np.random.default_rng(1)
    with archive.write(tmp_path / "cams.zip") as out:
        for row in read_index(tiny_set).split("train"):
            height, width = read_image(row.image).shape[:2]
            count = len(row.labels)
            cams = smooth(rng, max(count, 1), -(-height // 4), -(-width // 4))[:count].numpy()
            out.add_arrays(row.id, classes=np.array(row.labels, np.int16), cams=cams.astype(np.float16))
    return tmp_path / "cams.zip"


def confident_by_margins(scores: np.ndarray, keep: float) -> np.ndarray:
    """The confidence mask from sorted lists of margins."""
    mask = np.zeros(scores.shape[1:], bool)
    margins = {}
    for y, x in np.ndindex(mask.shape):
        column = scores[:, y, x].tolist()
        best = column.index(max(column))
        second = max(value for k, value in enumerate(column) if k != best)
        margins.setdefault(best, []).append((column[best] - second, y, x))
    for found in margins.values():
        ordered = sorted((margin for margin, _, _ in found), reverse=True)
        count = math.ceil(keep * len(ordered))
        for margin, y, x in found:
            mask[y, x] = count > 0 and margin >= ordered[count - 1]
    return mask


def walk_by_hand(cams: torch.Tensor, edges: torch.Tensor, size: tuple[int, int], scale: float) -> torch.Tensor:
    """Walk at stride 4 of the scaled photo, division by the maximum, then four steps back to the photo's size."""

    def bilinear(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return torch.nn.functional.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]

    walked = random_walk(bilinear(cams, edges.shape), edges, radius=3, beta=10, exp_times=4)
    whole_cells = bilinear(walked / walked.max(), (4 * edges.shape[0], 4 * edges.shape[1]))
    return bilinear(whole_cells[:, : round(scale * size[0]), : round(scale * size[1])], size)


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_pseudo_labels_of_a_shard(irn, tiny_set, cam_archive, tmp_path, scale):
    save_weights(tmp_path / "irn.safetensors", {"irn": (irn, IRN_OPTIONS)})
    for shard in ("1-of-2", "2-of-2"):
        write_pseudo_labels(
            index=tiny_set,
            shard=shard,
            cams=cam_archive,
            weights=tmp_path / "irn.safetensors",
            output=tmp_path / f"labels-{shard}.zip",
            confidence=tmp_path / f"mask-{shard}.zip",
            settings=WALK.model_copy(update={"scale": scale}),
            device="cpu",
        )
    written = Archive(*tmp_path.glob("labels-*.zip"))
    masks = Archive(*tmp_path.glob("mask-*.zip"))
    assert written.ids() == masks.ids() == ["a", "b", "c"]
    for row in read_index(tiny_set).split("train"):
        image = read_image(row.image)
        labels, mask = written.labels(row.id), masks.labels(row.id)
        assert labels.shape == mask.shape == image.shape[:2]
        if not row.labels:
            assert not labels.any() and mask.all()
            continue
        cams = torch.from_numpy(Archive(cam_archive).arrays(row.id)["cams"].astype(np.float32))
        full = walk_by_hand(cams, edge_map(irn, image, scale=scale), image.shape[:2], scale).numpy()
        scores = np.concatenate([np.full((1, *image.shape[:2]), WALK.threshold, np.float32), full])
        np.testing.assert_array_equal(labels, np.array([0, *row.labels])[scores.argmax(axis=0)])
        assert 0 in labels and set(np.unique(labels)) <= {0, *row.labels}
        np.testing.assert_array_equal(mask == 1, confident_by_margins(scores, WALK.keep))
        assert set(np.unique(mask)) == {0, 1}


def test_corrected_masks_win_over_the_walk(irn, tiny_set, cam_archive, tmp_path, monkeypatch):
    """And are all that is made anew when one is mended or taken away."""
    save_weights(tmp_path / "irn.safetensors", {"irn": (irn, IRN_OPTIONS)})
    walked = []
    infer = stage.infer

    def note(propagate, rows, *arguments, **options):
        walked.append([row.id for row in rows])
        return infer(propagate, rows, *arguments, **options)

    monkeypatch.setattr(stage, "infer", note)

    def run(corrected=None):
        write_pseudo_labels(
            index=tiny_set,
            shard="1-of-1",
            cams=cam_archive,
            weights=tmp_path / "irn.safetensors",
            output=tmp_path / "labels.zip",
            confidence=tmp_path / "mask.zip",
            settings=WALK.model_copy(update={"corrected": corrected}),
            device="cpu",
        )
        found = Archive(tmp_path / "labels.zip"), Archive(tmp_path / "mask.zip")
        return [{name: each.labels(name) for name in "abc"} for each in found]

    labels, masks = run()
    mended = labels["b"].copy()
    mended[:9, :9], mended[20:, 20:] = 3, 255
    (tmp_path / "mended").mkdir()
    Image.fromarray(mended.astype(np.uint8)).save(tmp_path / "mended" / "b.png")
    new_labels, new_masks = run(str(tmp_path / "mended"))
    np.testing.assert_array_equal(new_labels["b"], mended)
    np.testing.assert_array_equal(new_masks["b"], mended != 255)
    for name in "ac":
        np.testing.assert_array_equal(new_labels[name], labels[name])
        np.testing.assert_array_equal(new_masks[name], masks[name])
    mended[:] = 2
    Image.fromarray(mended.astype(np.uint8)).save(tmp_path / "mended" / "b.png")
    assert (run(str(tmp_path / "mended"))[0]["b"] == 2).all()
    np.testing.assert_array_equal(run()[0]["b"], labels["b"])
    assert walked == [["a", "b", "c"], [], [], ["b"]]
