"""Short videos for tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write_clip(
    path: Path,
    pictures: Iterable[np.ndarray] = (),
    *,
    grey: Iterable[int] = (),
    codec: str = "mpeg4",
    rate: int = 10,
    options: dict[str, str] | None = None,
) -> Path:
    """Write uint8 (48, 64, 3) pictures, or one of each grey value, as a video of `rate` frames a second."""
    import av

    pictures = [*pictures, *(np.full((48, 64, 3), value, np.uint8) for value in grey)]
    with av.open(path, "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
