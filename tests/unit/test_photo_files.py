"""Videos among the photos of `ssc predict`; photos alone are tested through the command line."""

import csv

import numpy as np
import pytest
from PIL import Image

from ssc.photo_files import check_segment_files, find_photos, segment_files
from ssc.runtime.errors import InputError
from ssc.segmenter import Segmentation
from tests.unit.data.clips import write_clip


class Thresholds:
    """Class 1 where a picture is brighter than 128."""

    def predict(self, photo):
        image = photo if isinstance(photo, np.ndarray) else np.asarray(Image.open(photo))
        bright = (image.mean(axis=2) > 128).astype(np.float32)
        return Segmentation(image, bright.astype(np.uint8), np.stack([1 - bright, bright]), ("background", "lamp"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 40), "white").save(tmp_path / "in" / "a.jpg")
    return tmp_path / "in"


@pytest.fixture
def clip(folder):
    """Two seconds; the second one is bright."""
    pytest.importorskip("av")
    return write_clip(folder / "clip.mp4", grey=[40] * 10 + [220] * 10)


def masks(out):
    return sorted(path.name for path in out.glob("*[0-9a-z].png") if not path.stem.endswith("_overlay"))


def test_frames_are_photos_under_the_name_of_their_video(folder, clip, tmp_path):
    out = tmp_path / "out"
    photos = find_photos([clip, folder / "a.jpg"], out=out)
    check_segment_files(photos, out)
    shown, broken = segment_files(Thresholds(), photos, out)
    frames = {f"clip_{number:06}": ["lamp"] if number >= 10 else [] for number in range(20)}
    assert (shown, broken) == ({**frames, "a": ["lamp"]}, {})
    assert masks(out) == ["a.png", *(f"{name}.png" for name in frames)]
    with Image.open(out / "clip_000015.png") as mask, Image.open(out / "clip_000015_overlay.png") as overlay:
        assert np.asarray(mask).tolist() == np.ones((48, 64)).tolist() and overlay.size == (64, 48)
    with (out / "predictions.csv").open(newline="") as file:
        lines = [(line["photo"], line["mask"], line["class"]) for line in csv.DictReader(file)]
    assert lines[9:11] == [
        (str(clip), "clip_000009.png", "background"),
        (str(clip), "clip_000010.png", "lamp"),
    ]


def test_some_frames_of_each_second(clip, tmp_path):
    shown, _ = segment_files(Thresholds(), find_photos([clip], out=tmp_path / "out"), tmp_path / "out", fps=2)
    assert [*shown] == ["clip_000000", "clip_000005", "clip_000010", "clip_000015"]


def test_the_rest_goes_on_after_a_video_that_breaks_off(folder, clip, tmp_path):
    write_clip(folder / "b.mkv", grey=[40] * 40)
    content = (folder / "b.mkv").read_bytes()
    (folder / "b.mkv").write_bytes(content[: len(content) * 6 // 10])
    (folder / "c.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    shown, broken = segment_files(Thresholds(), find_photos([str(folder / "*")], out=out), out)
    assert {"a", "b_000000", "clip_000019"} < set(shown) and not any(name.startswith("c_") for name in shown)
    assert [*broken] == ["b_", "c_"]
    assert "b.mkv breaks off after" in broken["b_"] and "c.mp4 cannot be read" in broken["c_"]
    assert masks(out) == sorted(f"{name}.png" for name in shown)


def test_frames_replace_their_own_alone(folder, clip, tmp_path):
    out = tmp_path / "out"
    photos = find_photos([clip], out=out)
    segment_files(Thresholds(), photos, out)
    check_segment_files(photos, out)
    Image.new("L", (9, 9)).save(out / "clip_1.png")  # of another name
    check_segment_files(photos, out)
    Image.new("L", (9, 9)).save(out / "clip_000003.png")
    with pytest.raises(InputError, match=r"clip_000003\.png exists and is not what this command wrote"):
        check_segment_files(photos, out)
    check_segment_files(photos, out, force=True)


@pytest.mark.parametrize(
    ("names", "clash"),
    [
        (["clip.mp4", "clip.jpg", "clip_1.jpg"], False),  # as of phones, which take a film along with a photo
        (["clip.mp4", "clip_000001.mp4"], False),
        (["clip.mp4", "clip.mov"], True),
        (["clip.mp4", "clip_000001.jpg"], True),
        (["clip.mp4", "clip_1234567_overlay.jpg"], True),
    ],
)
def test_results_of_one_name_are_refused(tmp_path, monkeypatch, names, clash):
    monkeypatch.setattr("ssc.data.videos.find_spec", lambda name: True)
    files = [tmp_path / name for name in names]
    for file in files:
        file.touch()
    if clash:
        with pytest.raises(InputError, match="would have one name"):
            find_photos(files, out=tmp_path / "out")
    else:
        assert [*find_photos(files, out=tmp_path / "out").values()] == files


def test_videos_of_a_folder_are_counted_and_left(folder, tmp_path, capsys):
    for name in ("b.MOV", "c.mp4"):
        (folder / name).touch()
    assert [*find_photos([folder], out=tmp_path / "out")] == ["a"]
    assert f"2 videos of {folder} are left, such as b.MOV; name those that are meant." in capsys.readouterr().err


def test_without_pyav_a_video_is_refused_with_the_extra_that_reads_it(folder, tmp_path, monkeypatch):
    (folder / "b.MOV").touch()
    monkeypatch.setattr("ssc.data.videos.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"b\.MOV is a video; install what reads it: pip install 'ssc-wsss\[video\]'"):
        find_photos([folder / "a.jpg", folder / "b.MOV"], out=tmp_path / "out")
    assert [*find_photos([folder], out=tmp_path / "out")] == ["a"]
