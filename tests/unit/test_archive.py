import copy
import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from ssc import archive
from ssc.archive import Archive, encode_labels
from ssc.constants import voc_palette
from ssc.runtime.errors import InputError

shapes = arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)
label_maps = st.sampled_from([2, 256, 257, 65536]).flatmap(
    lambda bound: arrays.arrays(np.int32, shapes, elements=st.integers(0, bound - 1))
)


@settings(max_examples=60, deadline=None)
@given(label_maps)
def test_label_maps_survive(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("archive") / "shard.zip"
    with archive.write(path) as writer:
        writer.add_labels("sub/image", labels)
    read = Archive(path).labels("sub/image")
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, labels)


def test_labels_are_stored_as_ordinary_palette_png(tmp_path):
    labels = np.array([[0, 1, 255]])
    with Image.open(io.BytesIO(encode_labels(labels))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (3, 1))
        assert image.getpalette() == voc_palette()
        colours = np.reshape(voc_palette(), (256, 3))
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colours[labels])
    with Image.open(io.BytesIO(encode_labels(labels + 1))) as image:
        assert image.mode == "I;16"


@pytest.mark.parametrize("labels", [np.zeros((2, 3, 1), int), np.array([[-1]]), np.array([[65536]])])
def test_what_is_no_label_map_is_refused(labels):
    with pytest.raises(ValueError, match=r"\(H, W\) with values in 0\.\.65535"):
        encode_labels(labels)


def test_arrays_survive_with_their_types(tmp_path):
    given_arrays = {"cam": np.linspace(0, 1, 24, dtype=np.float16).reshape(2, 3, 4), "classes": np.array([3, 7])}
    with archive.write(tmp_path / "shard.zip") as writer:
        writer.add_arrays("a", **given_arrays)
        writer.add_arrays("b", empty=np.zeros((0, 5), np.float32))
    out = Archive(tmp_path / "shard.zip")
    read = out.arrays("a")
    assert list(read) == ["cam", "classes"]
    for name, array in given_arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    assert out.arrays("b")["empty"].shape == (0, 5)


def test_cams_are_read_as_the_method_takes_them(tmp_path):
    cams = np.linspace(0, 1, 24, dtype=np.float16).reshape(2, 3, 4)
    with archive.write(tmp_path / "shard.zip") as writer:
        writer.add_arrays("a", classes=np.array([3, 7], np.int16), cams=cams)
    classes, maps = Archive(tmp_path / "shard.zip").cams("a")
    assert (classes.dtype, maps.dtype, classes.tolist()) == (np.int64, np.float32, [3, 7])
    np.testing.assert_array_equal(maps, cams)


def test_nothing_is_pickled_or_unpickled(tmp_path):
    path = tmp_path / "shard.zip"
    with pytest.raises(ValueError, match="objects"), archive.write(path) as writer:
        writer.add_arrays("a", x=np.array([{}], dtype=object))
    assert not path.exists()
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}], dtype=object))
    with archive.write(path) as writer:
        writer.add_bytes("a.npz", buffer.getvalue())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Archive(path).arrays("a")


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in ("one.zip", "two.zip"):
        with archive.write(tmp_path / name) as writer:
            writer.add_labels("a", np.eye(5, dtype=int))
            writer.add_arrays("a", x=np.arange(5))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as members:
        assert {member.date_time for member in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_several_shards_read_as_one(tmp_path):
    for k, name in enumerate("ba"):
        with archive.write(tmp_path / f"{name}.zip") as writer:
            writer.add_labels(name, np.full((1, 1), k))
            writer.add_arrays(f"{name}.x", k=np.array(k))
    out = Archive(tmp_path / "b.zip", tmp_path / "a.zip")
    assert out.ids() == ["a", "a.x", "b", "b.x"]
    assert "a" in out
    assert "b.x" in out
    assert "c" not in out
    assert (out.labels("b"), out.labels("a")) == (0, 1)
    assert out.arrays("a.x")["k"] == 1
    assert Archive().ids() == []


def test_labels_and_arrays_of_one_image_are_one_id(tmp_path):
    with archive.write(tmp_path / "shard.zip") as writer:
        writer.add_labels("a", np.zeros((1, 1)))
        writer.add_arrays("a", x=np.zeros(1))
    assert Archive(tmp_path / "shard.zip").ids() == ["a"]


def test_copies_for_worker_processes_open_their_own_files(tmp_path):
    with archive.write(tmp_path / "shard.zip") as writer:
        writer.add_labels("a", np.ones((2, 2)))
    out = Archive(tmp_path / "shard.zip")
    out.labels("a")
    worker = copy.copy(out)  # by way of __getstate__, as a loader's worker process gets it
    assert worker._open == {}
    np.testing.assert_array_equal(worker.labels("a"), np.ones((2, 2)))


def test_failure_leaves_the_old_archive(tmp_path):
    path = tmp_path / "shard.zip"
    with archive.write(path) as writer:
        writer.add_bytes("a.txt", b"old")
    with pytest.raises(RuntimeError), archive.write(path) as writer:
        writer.add_bytes("a.txt", b"new")
        raise RuntimeError
    assert Archive(path).read_bytes("a.txt") == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.png", "a/../../b.png", "a\\b.png", "a\nb.png", "a\x00.png"])
def test_unsafe_member_names_are_refused(tmp_path, name):
    path = tmp_path / "shard.zip"
    with pytest.raises(InputError, match="not a safe member name"), archive.write(path) as writer:
        writer.add_bytes(name, b"")
    if "\x00" in name:  # zipfile cuts the name there when it reads
        return
    with zipfile.ZipFile(path, "w") as members:
        members.writestr(name, b"")
    with pytest.raises(InputError, match="not a safe member name"):
        Archive(path)


def test_missing_and_damaged_files_are_named(tmp_path):
    path = tmp_path / "shard.zip"
    with pytest.raises(InputError, match=r"shard\.zip does not exist"):
        Archive(path)
    with archive.write(path) as writer:
        writer.add_bytes("a.txt", b"some text")
    with pytest.raises(InputError, match=r"b\.png is not in .*shard\.zip"):
        Archive(path).labels("b")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"some text", b"some test"))
    with pytest.raises(InputError, match=r"a\.txt in .*shard\.zip is damaged"):
        Archive(path).read_bytes("a.txt")
    path.write_bytes(data[:-30])
    with pytest.raises(InputError, match=r"shard\.zip is not a readable zip"):
        Archive(path)


def test_forked_processes_open_the_archive_anew(tmp_path):
    with archive.write(tmp_path / "x.zip") as out:
        out.add_bytes("a.txt", b"a")
    reader = archive.Archive(tmp_path / "x.zip")
    reader.read_bytes("a.txt")
    (own,) = reader._open.values()
    child = os.fork()
    if child == 0:
        right = reader.read_bytes("a.txt") == b"a"
        os._exit(0 if right and any(file is not own for file in reader._open.values()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_many_shards_are_read_with_few_files_open(tmp_path):
    for number in range(150):
        with archive.write(tmp_path / f"{number}.zip") as out:
            out.add_labels(f"photo{number}", np.full((2, 2), number))
    opened = Archive(*(tmp_path / f"{number}.zip" for number in range(150)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with ThreadPoolExecutor(4) as threads:  # which close files that others read
        maps = list(threads.map(lambda k: opened.labels(f"photo{k % 150}"), range(1500)))
    assert [int(labels[0, 0]) for labels in maps] == [k % 150 for k in range(1500)]
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 64
