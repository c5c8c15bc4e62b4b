"""CAM files of other code bases: their numbers are read, and nothing that they ask for is done."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ssc.archive import Archive
from ssc.cli import main
from ssc.interop.released_cams import convert_cams, read_released_cams
from ssc.runtime.errors import InputError
from ssc.stages.ready_files import import_cams
from ssc.workflow.settings import CAMs


def content(keys=(0, 14), size=(8, 12)):
    """What IRN, ReCAM and the authors of SSC save of an image."""
    generator = torch.Generator().manual_seed(0)
    cam = torch.rand(len(keys), *size, generator=generator)
    high_res = torch.rand(len(keys), size[0] * 4, size[1] * 4, generator=generator).numpy()
    return {"keys": torch.tensor(keys, dtype=torch.int64), "cam": cam, "high_res": high_res}


def save(path, value):
    np.save(path, value)  # writing alone


def save_pickle(path, data):
    """A .npy file of one object with the given bytes for its pickle."""
    save(path, {})
    header = path.read_bytes()[:128]
    assert header.endswith(b"\n")
    path.write_bytes(header + data)


@pytest.mark.parametrize("keys", [(0, 14), (3,), ()])
def test_arrays_and_tensors_are_read(tmp_path, keys):
    expected = content(keys)
    save(tmp_path / "x.npy", expected)
    found = read_released_cams(tmp_path / "x.npy")
    assert list(found) == ["classes", "cams", "high_res"]
    assert found["classes"].dtype == np.int16 and found["classes"].tolist() == [key + 1 for key in keys]
    np.testing.assert_array_equal(found["cams"], expected["cam"].numpy())
    np.testing.assert_array_equal(found["high_res"], expected["high_res"])


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {**c, "keys": c["keys"].numpy(), "cam": c["cam"].numpy()},
        lambda c: {**c, "keys": c["keys"].int(), "cam": np.asfortranarray(c["cam"].numpy())},
        lambda c: {**c, "cam": c["cam"].numpy().astype(">f8")},
        lambda c: {**c, "cam": c["cam"].transpose(1, 2).contiguous().transpose(1, 2)},
        lambda c: {**c, "cam": torch.cat([torch.zeros(1, 8, 12), c["cam"]])[1:]},  # a view with an offset
    ],
)
def test_any_memory_layout_is_read(tmp_path, change):
    expected = content()
    save(tmp_path / "x.npy", change(expected))
    found = read_released_cams(tmp_path / "x.npy")
    assert found["classes"].tolist() == [1, 15]
    np.testing.assert_array_equal(found["cams"], expected["cam"].numpy())


def test_files_of_numpy_1_are_read(tmp_path):
    expected = content()
    data = pickle.dumps(np.array(expected, dtype=object), protocol=3)
    assert b"numpy._core" in data
    save_pickle(tmp_path / "x.npy", data.replace(b"numpy._core", b"numpy.core"))
    np.testing.assert_array_equal(read_released_cams(tmp_path / "x.npy")["cams"], expected["cam"].numpy())


def test_converted_files_go_through_the_pipeline(tiny_set, tmp_path, capsys):
    folder, output = tmp_path / "npy", tmp_path / "npz"
    folder.mkdir()
    expected = {"a": content((0, 2), (8, 12)), "b": content((1,), (8, 9)), "c": content((), (5, 6))}
    for name, (height, width) in {"a": (32, 48), "b": (29, 35), "c": (20, 24)}.items():
        expected[name]["high_res"] = expected[name]["high_res"][:, :height, :width]
        save(folder / f"{name}.npy", expected[name])
    assert main(["convert-cams", str(folder), str(output)]) == 0
    assert f"Wrote 3 files to {output}." in capsys.readouterr().out
    for stride, dtype in ((4, "float16"), (1, "float32")):
        settings = CAMs(stride=stride, dtype=dtype)
        import_cams(index=tiny_set, shard="1-of-1", folder=output, output=tmp_path / "cams.zip", settings=settings)
        for name, value in expected.items():
            found = Archive(tmp_path / "cams.zip").arrays(name)
            assert found["classes"].tolist() == [key + 1 for key in value["keys"].tolist()]
            np.testing.assert_array_equal(found["cams"], value["cam"].numpy().astype(dtype))
            assert ("high_res" in found) == (stride == 1 and name != "c")
            if "high_res" in found:
                np.testing.assert_array_equal(found["high_res"], value["high_res"])


# The forms of other code bases, as these write them


def cells(maps):
    """Means over 4 x 4 pixels, by loops."""
    count, height, width = maps.shape
    return np.array(
        [
            [[each[y : y + 4, x : x + 4].mean() for x in range(0, width, 4)] for y in range(0, height, 4)]
            for each in maps.astype(np.float64)
        ]
    ).reshape(count, -(-height // 4), -(-width // 4))


def activations(*, size=(29, 35), count=2):
    """Sums over scales, float32, before any normalisation; none of them 0."""
    return 0.5 + 3 * np.random.default_rng(1).random((count, *size)).astype(np.float32)


def affinitynet(sums):
    """AffinityNet: by class, what is left after the division by the maximum + 1e-5."""
    return {(14, 0)[n]: each / (each.max() + 1e-5) for n, each in enumerate(sums)}


def seam(sums):
    """SEAM: the minimum is subtracted twice from the pixels that have it, so that these fall below 0."""
    scaled = {}
    for n, each in enumerate(sums):
        low, high = each.min(), each.max()
        each = np.where(each < low + np.float32(1e-5), np.float32(0), each)
        scaled[(14, 0)[n]] = (each - low - np.float32(1e-5)) / (high - low + np.float32(1e-5))
    return scaled


def mctformer(sums):
    """MCTformer: by class, from 0 to exactly 1."""
    return {np.int64((14, 0)[n]): (each - each.min()) / (each.max() - each.min() + 1e-8) for n, each in enumerate(sums)}


def clip_es(sums):
    """CLIP-ES: half precision, classes in the order of the photo's annotations."""
    maps = np.stack([(each - each.min()) / (1e-7 + (each - each.min()).max()) for each in sums])
    return {"keys": np.array([14, 0]), "attn_highres": maps.astype(np.float16)}


@pytest.mark.parametrize("form", [affinitynet, seam, mctformer, clip_es])
@pytest.mark.parametrize("size", [(29, 35), (32, 48), (3, 5)])
def test_maps_at_the_size_of_the_photo_become_cells(tmp_path, form, size):
    written = form(activations(size=size))
    save(tmp_path / "x.npy", written)
    found = read_released_cams(tmp_path / "x.npy")
    assert found["classes"].tolist() == [15, 1] and list(found) == ["classes", "cams", "high_res"]
    maps = written["attn_highres"] if form is clip_es else np.stack([written[14], written[0]])
    expected = np.maximum(maps, 0)
    assert (maps < 0).any() == (form is seam)
    np.testing.assert_array_equal(found["high_res"], expected)
    assert found["cams"].dtype == maps.dtype
    np.testing.assert_allclose(found["cams"], cells(expected), atol=1e-6 if form is not clip_es else 1e-3)


def test_a_dictionary_without_a_class_says_no_size(tmp_path):
    save(tmp_path / "x.npy", {})
    found = read_released_cams(tmp_path / "x.npy")
    assert [found[name].shape for name in ("classes", "cams", "high_res")] == [(0,), (0, 0, 0), (0, 0, 0)]


def test_every_form_goes_through_the_pipeline(tiny_set, tmp_path):
    """Of the photo without labels there is no file, or an empty one."""
    folder, output = tmp_path / "npy", tmp_path / "npz"
    folder.mkdir()
    ramp = np.linspace(0, 1, 32 * 48, dtype=np.float32).reshape(32, 48)
    save(folder / "a.npy", {0: ramp, 2: 1 - ramp[::-1]})
    save(folder / "b.npy", {"keys": np.array([1]), "attn_highres": ramp[None, :29, :35].astype(np.float16)})
    for settings in (CAMs(), CAMs(stride=1, dtype="float32")):
        convert_cams(folder, output)
        import_cams(index=tiny_set, shard="1-of-1", folder=output, output=tmp_path / "cams.zip", settings=settings)
        found = Archive(tmp_path / "cams.zip")
        assert [found.cams(name)[0].tolist() for name in "abc"] == [[1, 3], [2], []]
        assert [found.cams(name)[1].shape for name in "abc"] == [(2, 8, 12), (1, 8, 9), (0, 5, 6)]
        assert ("high_res" in found.arrays("a")) == (settings.stride == 1)
        save(folder / "c.npy", {})


# What is refused


class Call:
    """Unpickling it would call a function."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("place", ["keys", "cam", "high_res", "other"])
def test_code_is_not_run_wherever_it_stands(tmp_path, place):
    sprung = tmp_path / "sprung"
    save(tmp_path / "x.npy", {**content(), place: Call(Path.touch, sprung)})
    with pytest.raises(InputError, match=r"x.npy asks for pathlib\S*\.\S+, which no array needs"):
        read_released_cams(tmp_path / "x.npy")
    assert not sprung.exists()


@pytest.mark.parametrize("form", [affinitynet, mctformer, clip_es])
def test_code_is_not_run_in_other_forms_either(tmp_path, form):
    sprung = tmp_path / "sprung"
    written = form(activations())
    for place in written:
        save(tmp_path / "x.npy", {**written, place: Call(Path.touch, sprung)})
        with pytest.raises(InputError, match=r"x.npy asks for pathlib\S*\.\S+, which no array needs"):
            read_released_cams(tmp_path / "x.npy")
    assert not sprung.exists()


def test_a_number_is_made_of_its_bytes_alone(tmp_path):
    """numpy's own would unpickle what stands in for them."""
    reduced = np.int64(14).__reduce__()[0]
    for dtype, content in ((np.dtype(object), b"12345678"), (np.dtype("i8"), b"123"), (np.dtype("i8"), [1])):
        save(tmp_path / "x.npy", {"keys": [Call(reduced, dtype, content)], "cam": np.zeros((1, 2, 2))})
        with pytest.raises(InputError, match=r"x.npy is no CAM file of a known form"):
            read_released_cams(tmp_path / "x.npy")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_is_not_run_whatever_the_protocol(tmp_path, protocol):
    sprung = tmp_path / "sprung"
    save_pickle(tmp_path / "x.npy", pickle.dumps(Call(open, str(sprung), "w"), protocol=protocol))
    with pytest.raises(InputError, match=r"x.npy asks for \S*io.open"):
        read_released_cams(tmp_path / "x.npy")
    assert not sprung.exists()


def test_code_in_the_bytes_of_a_tensor_is_not_run(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save(Call(Path.touch, sprung), tmp_path / "storage", _use_new_zipfile_serialization=False)
    inner = Call(torch.storage._load_from_bytes, (tmp_path / "storage").read_bytes())
    save(tmp_path / "x.npy", {**content(), "cam": inner})
    with pytest.raises(InputError, match=r"x.npy is no CAM file of a known form"):
        read_released_cams(tmp_path / "x.npy")
    assert not sprung.exists()


def test_raw_memory_is_not_taken_for_objects(tmp_path):
    """numpy's own constructor takes these bytes for the address of an object, and the process dies."""
    save(tmp_path / "x.npy", {**content(), "cam": Call(np.ndarray, (1,), np.dtype(object), b"12345678")})
    with pytest.raises(InputError, match=r"x.npy is no CAM file"):
        read_released_cams(tmp_path / "x.npy")


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    storage = torch.zeros(4)._typed_storage()
    for size, stride, offset in (((1, 8, 12), (96, 12, 1), 0), ((1, 2, 2), (4, 2, 1), 3)):
        beyond = Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})
        save(tmp_path / "x.npy", {**content((0,)), "cam": beyond})
        with pytest.raises(InputError, match=r"x.npy is no CAM file"):
            read_released_cams(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"keys": torch.tensor([0])}, "holds keys, where keys and either cam or attn_highres are known"),
        ({"cam": torch.zeros(1, 2, 2)}, "holds cam, where keys and either"),
        ({**content(), "attn_highres": np.zeros((2, 9, 9))}, "holds keys, cam, high_res, attn_highres, where"),
        ({1: np.zeros((4, 4)), "keys": [1]}, "holds 1, keys, where keys and either"),
        ({"keys": np.array([1]), "attn_highres": np.zeros((2, 9, 9))}, "attn_highres must hold one map"),
        ({0: np.zeros((4, 4)), 1: np.zeros((4, 5))}, "is no CAM file of a known form"),
        ({-1: np.zeros((4, 4))}, "keys must be a list of different class indices from 0"),
        ({3: np.full((4, 4), 1.5)}, "the dictionary must hold one map of floats up to 1 .* divide each map by its"),
        ({3: np.full((4, 4), np.nan)}, "the dictionary must hold one map"),  # of a flat map, divided by nothing
        ({3: np.zeros(4)}, "the dictionary must hold one map"),
        ({0: np.full((4, 4), 0.7), 5: np.full((4, 4), 0.3)}, "holds probabilities of a CRF, .* folder of the CAMs"),
        ([1, 2], r"holds an array \(2,\) of int64, not a dictionary"),
        (np.array([1, {}], dtype=object), r"holds an array \(2,\) of object"),
        (np.array(7, dtype=object), "is no CAM file"),
        (np.zeros(3), r"holds an array \(3,\) of float64, not a dictionary"),
        ({**content(), "keys": torch.tensor([1, 1])}, "keys must be a list of different class indices"),
        ({**content(), "keys": torch.tensor([-1, 1])}, "keys must be"),
        ({**content(), "keys": torch.tensor([0.5, 1.0])}, "keys must be"),
        ({**content(), "keys": torch.tensor([[0, 1]])}, "keys must be"),
        ({**content(), "keys": torch.tensor([0])}, "cam must hold one map .* for each of the 1 keys"),
        ({**content(), "cam": content()["cam"] * 2}, "cam must hold one map of floats up to 1"),
        ({**content(), "cam": torch.full((2, 8, 12), torch.nan)}, "cam must hold"),
        ({**content(), "cam": torch.zeros(2, 8)}, "cam must hold"),
        ({**content(), "high_res": np.full((2, 9, 9), 1.5)}, "high_res must hold one map of floats up to 1"),
        ({**content(), "high_res": np.zeros((1, 9, 9))}, "high_res must hold one map"),
        ({**content(), "cam": torch.zeros(2, 8, 12, dtype=torch.int64)}, "cam must hold"),
    ],
)
def test_other_values_are_refused(tmp_path, value, sentence):
    save(tmp_path / "x.npy", value)
    with pytest.raises(InputError, match=f"x.npy.*{sentence}"):
        read_released_cams(tmp_path / "x.npy")


# torch remarks on protocols that do not exist.
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damage_is_an_input_error_or_harmless(tmp_path):
    path = tmp_path / "x.npy"
    save(path, content(size=(2, 2)))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, len(whole), 3):
            if place < len(data):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_released_cams(path)
        except InputError:
            refused += 1
    assert refused > 150


def test_a_failure_leaves_what_was_converted_before(tmp_path):
    save(tmp_path / "a.npy", content())
    (tmp_path / "b.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"b.npy is no CAM file"):
        convert_cams(tmp_path, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["a.npz"]


def test_an_empty_folder_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=r"holds no .npy file"):
            convert_cams(folder, tmp_path / "out")
