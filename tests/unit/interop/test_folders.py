"""Maps of folders and archives, read by image."""

import os

import numpy as np
import pytest
from PIL import Image

from ssc import archive
from ssc.archive import encode_labels
from ssc.interop.folders import cam_files, label_maps, read_arrays, stage_archives
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json


def labels(value: int) -> np.ndarray:
    return np.full((2, 3), value, np.uint8)


def test_labels_of_a_folder_of_an_archive_and_of_a_folder_of_archives(tmp_path):
    for name, value in (("a", 1), ("x/b", 2)):
        path = tmp_path / "loose" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_labels(labels(value)))
    (tmp_path / "loose" / "note.txt").write_text("no map")
    (tmp_path / "stage").mkdir()
    for number, (name, value) in enumerate((("a", 1), ("x/b", 2))):
        with archive.write(tmp_path / "stage" / f"{number}.zip") as writer:
            writer.add_labels(name, labels(value))
            writer.add_arrays(f"{name}_cam", cams=np.zeros(1))
    archives = sorted((tmp_path / "stage").iterdir())
    for found in (label_maps(tmp_path / "loose"), label_maps(tmp_path / "stage"), label_maps(*archives)):
        assert sorted(found) == ["a", "x/b"]
        assert found["a"]().max() == 1 and found["x/b"]().tolist() == labels(2).tolist()
    assert sorted(label_maps(archives[0])) == ["a"]


def test_cams_of_the_release_and_of_ours(tmp_path):
    cam = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    np.save(tmp_path / "a.npy", {"keys": np.array([4]), "cam": cam, "high_res": cam})
    np.savez(tmp_path / "b.npz", classes=np.array([5]), cams=cam)
    found = {name: read() for name, read in cam_files(tmp_path).items()}
    assert sorted(found) == ["a", "b"]
    for arrays in found.values():
        assert arrays["classes"].tolist() == [5]
        np.testing.assert_array_equal(arrays["cams"], cam)
    np.testing.assert_array_equal(found["a"]["high_res"], cam)


def test_archives_of_a_stage_are_those_of_the_manifest_unless_its_own_are_newer(tmp_path):
    """Another experiment's, or some of its own, which were cut into other shards before."""
    run = tmp_path / "mine"
    assert stage_archives(run, "cams") == []
    for folder, shard in (("ssc", "1-of-1"), ("mine", "1-of-1"), ("mine", "1-of-2"), ("mine", "2-of-2")):
        with archive.write(tmp_path / folder / "cams" / f"{shard}.zip"):
            pass
    everything = sorted((run / "cams").iterdir())
    assert stage_archives(run, "cams") == everything
    for named in (["ssc/cams/1-of-1.zip"], ["mine/cams/1-of-2.zip", "mine/cams/2-of-2.zip"]):
        files = {"cams": dict.fromkeys([*named, "ssc/cams.json", "ssc/other_cams/1-of-1.zip"], "")}
        write_json(run / "manifest.json", {"files": files})
        assert stage_archives(run, "cams") == [tmp_path / path for path in named]
        assert stage_archives(run, "irn_labels") == []
    os.utime(run / "manifest.json", (0, 0))
    assert stage_archives(run, "cams") == everything


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="neither a folder nor an archive"):
        label_maps(tmp_path / "absent")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="not a readable zip archive"):
        label_maps(tmp_path / "a.zip")
    (tmp_path / "a.zip").unlink()
    (tmp_path / "a.npz").write_bytes(b"no arrays")
    with pytest.raises(InputError, match=r"a\.npz is no readable archive of arrays"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", cams=np.zeros(1))
    with pytest.raises(InputError, match=r"b\.npz lacks classes; it needs classes and cams"):
        cam_files(tmp_path)["b"]()
    Image.new("RGB", (3, 2), "white").save(tmp_path / "colour.png")
    with pytest.raises(InputError, match="the colour #ffffff"):
        label_maps(tmp_path)["colour"]()
