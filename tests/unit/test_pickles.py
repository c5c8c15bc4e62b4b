"""No file that the project reads can run code: each reader gets one that would leave a mark if it were unpickled."""

import ast
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from ssc import archive
from ssc.archive import Archive
from ssc.interop.released_cams import read_released_cams
from ssc.interop.released_weights import read_checkpoint
from ssc.models.weights import read_header
from ssc.runtime.errors import InputError
from ssc.stages.ready_files import import_cams
from ssc.workflow.settings import CAMs

ROOT = Path(__file__).parents[2]
# What runs code that it is given, beside all functions of the module pickle.
FORBIDDEN = ("eval", "exec", "os.system", "yaml.load")


class Trap:
    """Unpickling it makes the file `sprung` in the current folder."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def object_array():
    return np.array([Trap()], dtype=object)


def save_npz(path):
    np.savez(path, classes=object_array(), cams=object_array())


def save_npy(path):
    with path.open("wb") as file:
        np.save(file, object_array())


def save_npy_of_a_dictionary(path):
    with path.open("wb") as file:
        np.save(file, np.array({"keys": Trap(), "cam": Trap()}, dtype=object))


def save_torch(path):
    torch.save({"x": Trap()}, path)


def save_old_torch(path):
    torch.save({"x": Trap()}, path, _use_new_zipfile_serialization=False)


def save_pickle(path):
    path.write_bytes(pickle.dumps(Trap()))


def read_ready_cams(path, index):
    import_cams(index=index, shard="1-of-1", folder=path.parent, output=path.with_name("out.zip"), settings=CAMs())


def read_member(path, index):
    """As the content of an archive of ours."""
    with archive.write(path.with_name("shard.zip")) as out:
        out.add_bytes("a.npz", path.read_bytes())
    Archive(path.with_name("shard.zip")).arrays("a")


READERS = [
    ("a.npz", read_ready_cams, [InputError]),
    ("a.npz", read_member, [InputError, ValueError]),
    ("a.npy", lambda path, index: read_released_cams(path), [InputError]),
    ("a.pth", lambda path, index: read_checkpoint(path), [InputError]),
    ("a.safetensors", lambda path, index: read_checkpoint(path), [InputError]),
    ("a.safetensors", lambda path, index: read_header(path), [InputError]),
]
WRITERS = [save_npz, save_npy, save_npy_of_a_dictionary, save_torch, save_old_torch, save_pickle]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", WRITERS)
@pytest.mark.parametrize(("name", "read", "errors"), READERS)
def test_no_reader_springs_a_trap(tmp_path, monkeypatch, tiny_set, name, read, errors, save):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ready").mkdir()
    path = tmp_path / "ready" / name
    buffer = tmp_path / "ready" / {save_npz: "x.npz"}.get(save, "x")
    save(buffer)
    buffer.rename(path)
    with suppress(*errors):  # a zip of torch, taken for an archive of arrays, holds nothing but bytes
        read(path, tiny_set)
    assert not (tmp_path / "sprung").exists()


def test_the_trap_works(tmp_path, monkeypatch):
    """What unpickling would call leaves the mark."""
    monkeypatch.chdir(tmp_path)
    function, arguments = Trap().__reduce__()
    function(*arguments)
    assert (tmp_path / "sprung").exists()


def test_nothing_in_the_project_unpickles():
    """Calls of what would: the one unpickler, of `ssc.interop.released_cams`, knows no global but arrays'."""
    found = []
    for path in sorted([*ROOT.glob("ssc/**/*.py"), *ROOT.glob("workflow_scripts/*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            named = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            safe = {"torch.load": "weights_only", "np.load": "allow_pickle"}.get(called)
            careless = safe is not None and named.get(safe) != str(safe == "weights_only")
            if careless or called in FORBIDDEN or called.startswith("pickle."):
                found.append(f"{path.name}:{node.lineno} {called}")
            assert "shell" not in named, path
    assert found == []
