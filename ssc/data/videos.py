"""Videos: which files are taken for one, and their frames."""

import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ssc.runtime.errors import InputError

_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".ogv"}
)
_REST = "do with the frames before"
_SLACK = 1.0  # seconds by which a whole video may be shorter than it says


def is_video(path: str | Path) -> bool:
    """Whether a file's name ends as a video's."""
    return Path(path).suffix.lower() in _SUFFIXES


def check_video_reader(path: str | Path) -> None:
    """Check that videos can be read.

    Raises:
        InputError: PyAV, an extra, is not installed; `path` is the video that needs it.
    """
    if not find_spec("av"):
        raise InputError(f"{path} is a video; install what reads it: pip install 'ssc-wsss[video]'.")


def frame_count(path: str | Path, *, fps: float | None = None) -> int:
    """About how many frames `read_frames` will give; 0 where the video does not say."""
    import av

    try:
        with av.open(path) as container:
            (stream, *_), duration = container.streams.video, (container.duration or 0) / av.time_base
            rate = float(stream.average_rate or 0)
            return round(duration * (min(fps, rate) if fps else rate))
    except (av.FFmpegError, ValueError):  # which reading it will tell
        return 0


def read_frames(path: str | Path, *, fps: float | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a video, decoded one by one.

    Args:
        path: the video; of several streams of pictures the first is read.
        fps: frames to take of each second, evenly in time; None takes all.

    Yields:
        A frame's number in the video, from 0, and its pixels, uint8 (H, W, 3), turned upright.

    Raises:
        InputError: the video cannot be read, or not to its end; or it has no times, which `fps` needs. What was read
            before has been given by then.
    """
    import av

    number, start, tick, end = -1, None, -1, 0.0
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise InputError(f"{path} holds no pictures; replace it or leave it out.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for packet in container.demux():  # of sound too, to know how far the file goes
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                for frame in packet.decode() if packet.stream_index == stream.index else ():
                    number += 1
                    if fps is not None:
                        if frame.time is None:
                            raise InputError(f"The frames of {path} have no times; leave out --fps.")
                        start, before = frame.time if start is None else start, tick
                        tick = max(before, math.floor((frame.time - start) * fps + 1e-6))  # times may go back a little
                        if tick == before:
                            continue
                    yield number, _upright(frame)
            said = ((container.duration or 0) + (container.start_time or 0)) / av.time_base
    except av.FFmpegError as error:
        after, mend = (f" after frame {number}", _REST) if number >= 0 else ("", "leave it out")
        raise InputError(f"The video {path} cannot be read{after} ({error.strerror}); replace it, or {mend}.") from None
    if end < said - _SLACK:
        raise InputError(f"The video {path} breaks off after {end:.1f} of {said:.1f} s; replace it, or {_REST}.")


def _upright(frame) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    # `rotation` is in degrees counterclockwise, as `rot90` turns.
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
