"""Frames of videos that PyAV writes, broken and turned byte by byte."""

import struct

import numpy as np
import pytest

from ssc.data.videos import frame_count, is_video, read_frames
from ssc.runtime.errors import InputError
from tests.unit.data.clips import write_clip

pytest.importorskip("av")


def levels(path, **options):
    """By number, the mean grey value of each frame."""
    return {number: pixels.mean() for number, pixels in read_frames(path, **options)}


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.MOV", "mpeg4"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg4"), ("a.mpg", "mpeg2video")],
)
def test_frames_in_their_order(tmp_path, name, codec):
    path = write_clip(tmp_path / name, codec=codec, rate=25, grey=range(20, 220, 10))
    found = levels(path)
    assert is_video(path) and [*found] == [*range(20)]
    np.testing.assert_allclose([*found.values()], range(20, 220, 10), atol=4.9)  # half a step
    assert {pixels.shape for _, pixels in read_frames(path)} == {(48, 64, 3)}
    assert all(pixels.dtype == np.uint8 and pixels.flags.c_contiguous for _, pixels in read_frames(path))


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (30, range(20)),
        (10, range(20)),
        (5, range(0, 20, 2)),
        (4, [0, 3, 5, 8, 10, 13, 15, 18]),
        (2, [0, 5, 10, 15]),
        (0.7, [0, 15]),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])  # the second does not begin at 0
def test_frames_evenly_in_time(tmp_path, name, fps, expected):
    path = write_clip(tmp_path / name, grey=[90] * 20, rate=10, codec="mpeg2video" if name == "a.ts" else "mpeg4")
    assert [number for number, _ in read_frames(path, fps=fps)] == [*expected]


def test_the_number_of_frames_is_estimated(tmp_path):
    path = write_clip(tmp_path / "a.mp4", grey=[90] * 20, rate=10)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert [frame_count(path), frame_count(path, fps=2), frame_count(path, fps=99)] == [20, 4, 20]
    assert frame_count(tmp_path / "b.mp4") == 0


IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_videos_of_phones_are_turned_upright(tmp_path, matrix):
    """By the matrix of ISO 14496-12, which takes a point (x, y) to (a x + c y, b x + d y)."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[24:, :32] = 255, 128
    content = write_clip(tmp_path / "a.mp4", [picture] * 3).read_bytes()
    a, b, c, d = matrix
    head, track = content.split(b"tkhd", 1)
    turned = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    assert track.count(IDENTITY) == 1
    (tmp_path / "b.mp4").write_bytes(head + b"tkhd" + track.replace(IDENTITY, turned))
    y, x = np.mgrid[:48, :64]
    to_x, to_y = a * x + c * y, b * x + d * y
    expected = np.zeros((48, 64, 3) if a else (64, 48, 3))
    expected[to_y - to_y.min(), to_x - to_x.min()] = picture
    for _, pixels in read_frames(tmp_path / "b.mp4"):
        assert pixels.shape == expected.shape
        assert np.abs(pixels - expected).mean() < 3


@pytest.mark.parametrize(("name", "options", "told"), [
    ("a.mkv", {}, "breaks off after 2.* of 4.0 s"),
    ("a.mp4", {"movflags": "faststart"}, "breaks off after .* of 4.0 s"),
    ("a.mp4", {}, "cannot be read"),
])  # fmt: skip
def test_a_cut_video_gives_its_frames_and_then_an_error(tmp_path, name, options, told):
    content = write_clip(tmp_path / name, grey=range(20, 220, 5), options=options).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 6 // 10])
    found = []
    with pytest.raises(InputError, match=rf"{name} {told}"):
        found.extend(number for number, _ in read_frames(tmp_path / name))
    assert len(found) < 40 and bool(found) == ("breaks" in told)


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_no_videos(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4 cannot be read"):
        next(read_frames(tmp_path / "a.mp4"))


def test_sound_alone(tmp_path):
    import av

    with av.open(tmp_path / "a.mkv", "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
    with pytest.raises(InputError, match=r"a\.mkv holds no pictures"):
        next(read_frames(tmp_path / "a.mkv"))
    assert frame_count(tmp_path / "a.mkv") == 0
