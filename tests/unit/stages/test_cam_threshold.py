import numpy as np
import pytest

from ssc import archive
from ssc.archive import Archive
from ssc.data.index import Index, Row, read_index, write_index
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, write_json
from ssc.seeds import background_threshold
from ssc.stages.cam_threshold import settle, write_cam_threshold
from ssc.stages.irn_labels import write_irn_labels
from ssc.workflow.settings import IRNLabels, PseudoLabels, Seeds

LARGE = (40, 60)


@pytest.fixture
def cams(tiny_set, tmp_path):
    """CAMs of `a`, two classes, small; of `b`, one class, large and bright; none of `c`, which has no label."""
    rng = np.random.default_rng(5)
    maps = {"a": rng.beta(1, 6, (2, 8, 12)), "b": rng.beta(5, 2, (1, *LARGE)), "c": np.zeros((0, 5, 6))}
    paths = [tmp_path / "1.zip", tmp_path / "2.zip"]
    for path, names in zip(paths, ("a", "bc"), strict=True):
        with archive.write(path) as out:
            for row in read_index(tiny_set).split("train"):
                if row.id in names:
                    values = maps[row.id].astype(np.float32)
                    out.add_arrays(row.id, classes=np.array(row.labels, np.int16), cams=values)
    return maps, paths


def test_photos_count_alike_by_their_strongest_cam(tiny_set, cams, tmp_path):
    maps, paths = cams
    write_cam_threshold(index=tiny_set, cams=paths, output=tmp_path / "threshold.json")
    shares = np.zeros(256)
    for values in (np.maximum(*maps["a"]), maps["b"][0]):
        for value in values.ravel():
            shares[min(255, int(value * 256))] += 1 / values.size
    found = read_json(tmp_path / "threshold.json")
    assert found == {"threshold": background_threshold(shares)}
    pixels = np.histogram(np.concatenate([np.maximum(*maps["a"]).ravel(), maps["b"].ravel()]), 256, (0, 1))[0]
    assert found["threshold"] != background_threshold(pixels)


def test_without_a_label_there_is_no_threshold(tmp_path):
    rows = [Row(id="c", split="train", image="c.png", mask="", labels=())]
    write_index(tmp_path / "index.tsv", Index(["orbi"], rows))
    with archive.write(tmp_path / "cams.zip") as out:
        out.add_arrays("c", classes=np.zeros(0, np.int16), cams=np.zeros((0, 4, 4), np.float16))
    with pytest.raises(InputError, match="write numbers for `auto`"):
        write_cam_threshold(index=tmp_path / "index.tsv", cams=[tmp_path / "cams.zip"], output=tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()


def test_sections_take_their_multiples_of_it(tmp_path):
    write_json(tmp_path / "t.json", {"threshold": 0.2})
    labels = settle(IRNLabels(foreground_threshold="auto", background_threshold=0.07), tmp_path / "t.json")
    assert (labels.foreground_threshold, labels.background_threshold) == (pytest.approx(0.3), 0.07)
    assert settle(IRNLabels(background_threshold="auto"), tmp_path / "t.json").background_threshold == 0.1
    assert settle(PseudoLabels(threshold="auto"), tmp_path / "t.json").threshold == pytest.approx(0.25)
    assert settle(Seeds(threshold="auto"), tmp_path / "t.json").threshold == 0.2
    assert settle(Seeds(threshold=0.35), None) == Seeds(threshold=0.35)
    write_json(tmp_path / "t.json", {"threshold": 0.9})
    assert settle(IRNLabels(foreground_threshold="auto"), tmp_path / "t.json").foreground_threshold == 1


def test_labels_are_those_of_the_numbers(tiny_set, cams, tmp_path):
    write_json(tmp_path / "t.json", {"threshold": 0.2})
    found = []
    for name, thresholds in (("auto", ("auto", "auto")), ("numbers", (1.5 * 0.2, 0.5 * 0.2))):
        settings = IRNLabels(foreground_threshold=thresholds[0], background_threshold=thresholds[1])
        with archive.write(tmp_path / "cams.zip") as out:
            for row in read_index(tiny_set).split("train"):
                values = Archive(*cams[1]).arrays(row.id)["cams"][:, :8, :12]
                out.add_arrays(row.id, classes=np.array(row.labels, np.int16), cams=values)
        write_irn_labels(
            index=tiny_set, shard="1-of-1", cams=tmp_path / "cams.zip", output=tmp_path / name, settings=settings,
            cam_threshold=tmp_path / "t.json",
        )  # fmt: skip
        found.append([Archive(tmp_path / name).read_bytes(f"{image}.png") for image in "abc"])
    assert found[0] == found[1]
