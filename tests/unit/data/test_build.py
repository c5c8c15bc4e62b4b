import pytest

from ssc.data import build
from ssc.data.build import build_index, folder_state
from ssc.runtime.errors import InputError


@pytest.fixture
def calls(monkeypatch):
    """Adapters replaced by functions that return their name and arguments."""
    for name in ("index_voc", "index_coco", "index_folder"):
        monkeypatch.setattr(build, name, lambda *args, _name=name, **kwargs: (_name, *args, kwargs))


COCO = {"train_images": "a", "train_instances": "b", "val_images": "c", "val_instances": "d"}


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({"kind": "voc", "root": "r"}, ("index_voc", {"root": "r"})),
        ({"kind": "voc", "root": "r", "sbd": None}, ("index_voc", {"root": "r"})),
        ({"kind": "voc", "root": "r", "sbd": "s", "name": "x"}, ("index_voc", {"root": "r", "sbd": "s"})),
        ({"kind": "voc", "root": "r", "test_root": "t"}, ("index_voc", {"root": "r", "test_root": "t"})),
        ({"kind": "coco", **COCO}, ("index_coco", COCO)),
        ({"kind": "folder", "root": "r", "masks": "m", "classes": None}, ("index_folder", {"root": "r", "masks": "m"})),
    ],
)
def test_each_kind_gets_its_arguments(calls, dataset, expected):
    assert build_index(dataset) == expected


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"kind": "voc", "root": None}, r"dataset\.root is not set; kind 'voc'"),
        ({"kind": "coco", "train_images": "a"}, r"dataset\.train_instances is not set"),
        ({"kind": "folder"}, r"dataset\.root is not set"),
        ({"kind": "imagenet"}, r"'imagenet'; use voc, coco or folder"),
        ({}, "None; use voc"),
    ],
)
def test_incomplete_sections_are_refused(calls, dataset, message):
    with pytest.raises(InputError, match=message):
        build_index(dataset)


def test_the_state_of_a_folder_follows_its_files(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images" / "a.jpg").write_bytes(b"1")
    dataset = {"kind": "folder", "root": str(tmp_path), "images": "images", "masks": None}

    def state():
        build.files_state.cache_clear()
        return folder_state(dataset, "images")

    first = state()
    assert state() == first and folder_state(dataset, "masks") is None
    (tmp_path / "images" / "a.jpg").write_bytes(b"12")
    second = state()
    (tmp_path / "images" / "sub" / "b.jpg").symlink_to("nowhere")
    third = state()
    assert len({first, second, third}) == 3
    for name in (".DS_Store", "notes.txt", "._a.jpg"):  # are no photos
        (tmp_path / "images" / name).write_text("")
    assert state() == third
    assert folder_state({"kind": "voc", "root": str(tmp_path)}, "images") is None
