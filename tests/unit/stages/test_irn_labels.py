import numpy as np
import pytest
import torch

from ssc import archive
from ssc.archive import Archive
from ssc.cams import upsample
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.seeds import confident_labels
from ssc.stages.irn_labels import write_irn_labels
from ssc.workflow.settings import IRNLabels

SETTINGS = IRNLabels(foreground_threshold=0.5, background_threshold=0.25, crf={"iterations": 3})


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


@pytest.mark.parametrize("threads", [1, 3])
def test_irn_labels_of_a_shard(tiny_set, cam_archive, tmp_path, threads):
    write_irn_labels(
        index=tiny_set,
        shard="1-of-1",
        cams=cam_archive,
        output=tmp_path / "labels.zip",
        settings=SETTINGS,
        threads=threads,
    )
    written, cams = Archive(tmp_path / "labels.zip"), Archive(cam_archive)
    assert written.ids() == ["a", "b", "c"]
    for row in read_index(tiny_set).split("train"):
        image = read_image(row.image)
        if row.labels:
            maps = upsample(torch.from_numpy(cams.arrays(row.id)["cams"]), image.shape[:2])
            crf = {"iterations": 3, "gaussian": (3, 3), "bilateral": (50, 5, 10)}
            thresholds = {"foreground_threshold": 0.5, "background_threshold": 0.25}
            expected = confident_labels(image, np.array(row.labels), maps, **thresholds, crf=crf)
            assert len(np.unique(expected)) > 1
        else:
            expected = np.zeros(image.shape[:2])
        np.testing.assert_array_equal(written.labels(row.id), expected)
