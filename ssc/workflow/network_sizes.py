"""What the networks of a run take, asked of them once: read without torch, measured by `ssc.workflow.training_size`."""

import hashlib
import json
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ssc.runtime.errors import InputError
from ssc.runtime.files import file_digest, read_json, write_json
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import TRAININGS


class NetworkSize(NamedTuple):
    """What the network of a training takes.

    Attributes:
        weights: bytes of the weight file.
        saved: bytes that a training step in fp32 saves for its backward pass.
        training_flops: multiplications and additions of a step, by photo.
        bytes_per_pixel: bytes that inference in fp32 holds at most, by pixel of what the network sees.
        flops_per_pixel: multiplications and additions of inference, likewise.
    """

    weights: int
    saved: int
    training_flops: int
    bytes_per_pixel: float
    flops_per_pixel: float


def network_sizes(settings: Settings, num_classes: int) -> dict[str, NetworkSize]:
    """The sizes of the networks by training, measured once and kept below `~/.cache/ssc`.

    It takes seconds, since torch has to load its compiler for networks of no content, and is asked at each start.

    Raises:
        InputError: settings of which no network can be built.
    """
    package = Path(__file__).parents[1]
    code = [*package.glob("models/*.py"), *(package / name for name in ("affinity.py", "losses.py", "constants.py"))]
    code += [package / "workflow" / name for name in ("network_sizes.py", "training_size.py")]
    known = [
        {stage: getattr(settings, stage).model_dump(mode="json") for stage in TRAININGS},
        [settings.memory, num_classes, version("torch"), version("timm")],
        [file_digest(path) for path in sorted(code)],
    ]
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111, which may raise
    place = Path(caches) / "ssc" / f"network_sizes_{key}.json"
    with suppress(OSError, InputError, LookupError, TypeError, AttributeError):  # not there, or damaged
        return {stage: NetworkSize(**read_json(place)[stage]) for stage in TRAININGS}
    from ssc.workflow.training_size import measure_networks  # with torch, which the reading of the workflow can spare

    found = measure_networks(settings, num_classes)
    with suppress(OSError):  # without a home, measured each time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, {stage: size._asdict() for stage, size in found.items()})
    return found


def check_networks(settings: Settings) -> None:
    """Build the networks of all trainings, on torch's meta device.

    Raises:
        InputError: one cannot be built of the settings.
    """
    network_sizes(settings, num_classes=1)
