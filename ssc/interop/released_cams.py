"""CAM folders of other code bases: pickled dictionaries in .npy files, read without running what they ask for.

A pickle is a program. Here only the five callables that arrays, tensors and numbers are pickled with can be named, and
they are replaced by the functions below, which build values from plain bytes: numpy's own would trust a file with raw
memory.
"""

import io
import pickle
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch.nn import functional as F

from ssc.constants import STRIDE
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic
from ssc.runtime.outputs import check_outputs, note_output
from ssc.runtime.progress import track

_FORMS = {  # by the entry that tells a form, our names of its maps, and theirs
    "cam": {"cams": "cam", "high_res": "high_res"},
    "attn_highres": {"high_res": "attn_highres"},
}
_ROUNDING = 0.01  # by how far a sum of probabilities may miss 1, in float16 too


def convert_cams(folder: str | Path, output: str | Path, *, force: bool = False) -> int:
    """Convert a folder of CAMs `<id>.npy` into files `<id>.npz` that `ready.cams` takes.

    Args:
        folder: files of `numpy.save`, each a dictionary in one of three forms; classes count from 0, values lie in
            0..1. IRN, ReCAM and the authors of SSC: `keys` (K,) and `cam` (K, h, w) at stride 4, perhaps with
            `high_res` (K, H, W), of which they make seeds and IRN labels. CLIP-ES: `keys` (K,) and `attn_highres`
            (K, H, W). AffinityNet, SEAM and MCTformer: a map (H, W) by class. Further entries are left out.
        output: folder for files with `classes` (K,) int16, ids from 1, `cams` and `high_res`, see `read_released_cams`.
        force: files there that were not converted so before may be replaced.

    Returns:
        Number of files.

    Raises:
        InputError: there is no .npy file, a result would replace another file, or one cannot be read, asks for code to
            be run, or holds other values. Files converted before it stay.
    """
    paths = sorted(Path(folder).glob("*.npy"))
    if not paths:
        raise InputError(f"{folder} holds no .npy file; name the folder that the other code wrote its CAMs to.")
    check_outputs((Path(output) / f"{path.stem}.npz" for path in paths), command="convert-cams", force=force)
    for path in track(paths, "CAM files"):
        arrays = read_released_cams(path)
        converted = Path(output) / f"{path.stem}.npz"
        with atomic(converted) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, **arrays)
        note_output(converted, command="convert-cams")
    return len(paths)


def read_released_cams(path: str | Path) -> dict[str, np.ndarray]:
    """The maps of one file in any of the forms of `convert_cams`.

    Values stay as they are, but that those below 0, as SEAM's normalisation leaves some, become 0: no threshold tells
    them from it. Where the file has maps at the photo's size alone, a map at stride 4 has the mean of each cell, which
    `ssc.cams.upsample` turns back.

    Returns:
        `classes` (K,) int16, ids from 1, `cams` (K, ceil(H / 4), ceil(W / 4)) and, where the file has them, `high_res`
        (K, H, W), both in 0..1 and of the file's type. K may be 0; of a file without a class that says no size, `cams`
        and `high_res` have none.

    Raises:
        InputError: see `convert_cams`.
    """
    path = Path(path)
    try:
        with path.open("rb") as handle:
            content = _read_pickled(handle, path)
        by_class = all(isinstance(name, int | np.integer) for name in content)
        keys, maps, names = _by_class(content) if by_class else _by_name(content, path)
    except InputError:
        raise
    except Exception as error:  # a damaged or hostile pickle may fail in many ways; each one means the same
        raise InputError(f"{path} is no CAM file of a known form ({error!r}); make it again.") from None
    if keys.ndim != 1 or keys.dtype.kind not in "iu" or (keys < 0).any() or len(set(keys.tolist())) < len(keys):
        raise InputError(f"{path}: keys must be a list of different class indices from 0.")
    for own, found in maps.items():
        if found.ndim != 3 or len(found) != len(keys) or found.dtype.kind != "f" or not (found <= 1).all():
            raise InputError(
                f"{path}: {names[own]} must hold one map of floats up to 1 for each of the {len(keys)} keys; divide "
                "each map by its maximum."
            )
    if by_class and 0 in keys and len(keys) > 1 and np.allclose(maps["high_res"].sum(axis=0), 1, atol=_ROUNDING):
        raise InputError(
            f"{path} holds probabilities of a CRF, background as 0; name the folder of the CAMs (--out_cam)."
        )
    maps = {own: found.clip(min=0) for own, found in maps.items()}
    if "cams" not in maps:
        maps = {"cams": _cell_means(maps["high_res"]), **maps}
    return {"classes": (keys + 1).astype(np.int16), **maps}


def _by_class(content: dict) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, str]]:
    """Keys, maps by our names, and what a message calls these, of maps (H, W) by class index."""
    maps = np.stack([*content.values()]) if content else np.zeros((0, 0, 0), np.float32)
    return np.array([*content], np.int64), {"high_res": maps}, {"high_res": "the dictionary"}


def _by_name(content: dict, path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, str]]:
    """As `_by_class`, of entries by name.

    Raises:
        InputError: it is not clear which entry has the maps.
    """
    forms = [form for form in _FORMS if form in content]
    if "keys" not in content or len(forms) != 1:
        raise InputError(
            f"{path} holds {', '.join(map(str, content))}, where keys and either {' or '.join(_FORMS)} are known; "
            "write <id>.npz as docs/importing.md says."
        )
    names = {own: name for own, name in _FORMS[forms[0]].items() if name in content}
    return np.asarray(content["keys"]), {own: np.asarray(content[name]) for own, name in names.items()}, names


def _cell_means(maps: np.ndarray) -> np.ndarray:
    """Means of maps (K, H, W) over the cells of stride 4, at the border over what the photo has of them."""
    if not maps.size:
        return np.zeros((len(maps), *(-(-side // STRIDE) for side in maps.shape[1:])), maps.dtype)
    means = F.avg_pool2d(torch.from_numpy(maps.astype(np.float32))[:, None], STRIDE, ceil_mode=True)[:, 0]
    return means.numpy().astype(maps.dtype)


def _read_pickled(handle: BinaryIO, path: Path) -> dict:
    """The dictionary in a .npy file: an array of one Python object, which numpy stores as a pickle."""
    if np.lib.format.read_magic(handle) != (1, 0):
        raise InputError(f"{path} has another version of the .npy format than numpy.save gives to a dictionary.")
    shape, _, dtype = np.lib.format.read_array_header_1_0(handle)
    if shape != () or dtype.kind != "O":
        raise InputError(f"{path} holds an array {shape} of {dtype}, not a dictionary of CAMs.")
    (content,) = _Unpickler(handle, path).load().value
    return {name: item.value if isinstance(item, _Array) else item for name, item in content.items()}


class _Unpickler(pickle.Unpickler):
    def __init__(self, handle: BinaryIO, path: Path):
        super().__init__(handle)
        self._path = path

    def find_class(self, module: str, name: str) -> object:
        """The replacement of a global that a pickle names; none is a class of ours, which a pickle could change."""
        if (module, name) not in _REPLACEMENTS:
            raise InputError(f"{self._path} asks for {module}.{name}, which no array needs; it is not a CAM file.")
        return _REPLACEMENTS[module, name]


class _Dtype:
    """An element type as numpy pickles it: a code such as f4, and then its byte order."""

    def __init__(self, code: str):
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple):
        self.order = state[1]
        if self.order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise ValueError("an element type with parts")

    def numpy(self) -> np.dtype:
        if not re.fullmatch(r"[biuf][1248]", self.code):
            raise ValueError(f"elements of type {self.code!r}")
        return np.dtype(self.order + self.code)


class _Array:
    """An array as numpy pickles it; its content comes last."""

    def __setstate__(self, state: tuple):
        _, shape, dtype, column_major, content = state
        if dtype.code == "O8":
            self.value = content  # a list of whatever the pickle has built
        else:
            self.value = np.frombuffer(content, dtype.numpy()).reshape(shape, order="F" if column_major else "C")


def _array(*_: object) -> _Array:
    return _Array()


def _dtype(code: str, *_: object) -> _Dtype:
    return _Dtype(code)


def _number(dtype: _Dtype, content: bytes) -> np.generic:
    return np.frombuffer(content, dtype.numpy())[0]


def _storage(content: bytes) -> torch.storage.TypedStorage:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: torch.storage.TypedStorage, offset: int, size: tuple, stride: tuple, *_: object) -> torch.Tensor:
    flat = torch.empty(0, dtype=storage.dtype).set_(storage)
    return flat.as_strided(size, stride, offset)  # refuses what lies outside of the storage


_REPLACEMENTS = {
    ("numpy.core.multiarray", "_reconstruct"): _array,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("numpy", "ndarray"): None,  # an argument of the former
    ("numpy", "dtype"): _dtype,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("collections", "OrderedDict"): dict,  # the hooks of a tensor, which has none
}
