"""Tables of labels from what folders of photos say; every one is read back as a run reads it."""

import csv
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from snakemake.cli import parse_config

from ssc.constants import FEW_PHOTOS
from ssc.data.build import build_index
from ssc.data.start import check_labels, label_folder, run_command
from ssc.runtime.errors import InputError
from ssc.workflow.config import complete, resolve
from ssc.workflow.project import snakemake_command
from tests.unit.data.packets import xmp


def photos(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(root / name, "jpeg")
    return root


def keyword_photos(root: Path, **keywords: list[str]) -> Path:
    root.mkdir(exist_ok=True)
    for name, own in keywords.items():
        Image.new("RGB", (32, 32)).save(root / f"{name}.jpg", xmp=xmp(*own) if own else b"")
    return root


def labelled(root: Path, source: str | None = None, **options) -> tuple[str, dict[str, str]]:
    """The source, and by photo what the table says, which a run must accept."""
    taken = label_folder(root, root / "labels.csv", source=source, **options)
    check_labels(root, root / "labels.csv")
    with (root / "labels.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return taken, {line["image"]: "/".join(filter(None, (line["labels"], line.get("split")))) for line in lines}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # Photos beside the folders say nothing; hidden files and thumbnails are no photos.
        (
            ["cat/1.jpg", "dog/1.jpg", "dog/2.JPG", "IMG_1.jpg", ".trash/3.jpg", "cat/._1.jpg", "dog/@eaDir/2.jpg"],
            {"cat/1.jpg": "cat", "dog/1.jpg": "dog", "dog/2.JPG": "dog"},
        ),
        (["pets/cat/1.jpg", "pets/guinea pig/2.jpg"], {"pets/cat/1.jpg": "cat", "pets/guinea pig/2.jpg": "guinea pig"}),
        (["pets/cat/1.jpg", "pets/dog/2.jpg", "3.jpg"], {"pets/cat/1.jpg": "cat", "pets/dog/2.jpg": "dog"}),
        (["images/cat/1.jpg", "images/dog/2024/2.jpg"], {"images/cat/1.jpg": "cat", "images/dog/2024/2.jpg": "dog"}),
        (["cat/101CANON/1.jpg", "dog/DCIM/2.jpg"], {"cat/101CANON/1.jpg": "cat", "dog/DCIM/2.jpg": "dog"}),
        (
            ["train/cat/1.jpg", "train/dog/2.jpg", "Validation/cat/3.jpg", "dog/test/4.jpg"],
            {"train/cat/1.jpg": "cat/train", "train/dog/2.jpg": "dog/train", "Validation/cat/3.jpg": "cat/val",
             "dog/test/4.jpg": "dog/test"},
        ),
        (["cat, dog/1.jpg", "dog/2.jpg"], {"cat, dog/1.jpg": "cat;dog", "dog/2.jpg": "dog"}),
        (["cat/1.jpg", "background/2.jpg"], {"cat/1.jpg": "cat", "background/2.jpg": "background"}),
        (["cat/1.jpg", "dog/1.jpg", "masks/cat/1.png"], {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}),
        (["room 2/1.jpg", "7up/1.jpg", "犬/1.jpg"], {"room 2/1.jpg": "room 2", "7up/1.jpg": "7up", "犬/1.jpg": "犬"}),
        (["cat/1.jpg", "cat/2.jpg"], {"cat/1.jpg": "cat", "cat/2.jpg": "cat"}),
        # File names that part the photos as the folders do are no second opinion.
        (["cats/cat_1.jpg", "cats/cat_2.jpg", "dogs/dog_1.jpg", "dogs/dog_2.jpg"],
         {"cats/cat_1.jpg": "cats", "cats/cat_2.jpg": "cats", "dogs/dog_1.jpg": "dogs", "dogs/dog_2.jpg": "dogs"}),
    ],
)  # fmt: skip
def test_folders(tmp_path, names, expected):
    assert labelled(photos(tmp_path, *names)) == ("folders", expected)


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["cat_001.jpg", "cat_002.jpg"], "cat"),
        (["dog-12.jpg", "dog-7.jpg"], "dog"),
        (["cat (3).jpg", "cat (12).JPG"], "cat"),
        (["cat.0.jpg", "cat.11.jpg"], "cat"),
        (["cat1.jpg", "cat12.jpg", "cat.jpg"], "cat"),
        (["guinea_pig_2024-05-01_1.jpg", "guinea_pig_3.jpg"], "guinea_pig"),
        (["type2_01.jpg", "type2_02.jpg"], "type2"),
        (["img/a/Cow-1.jpg", "img/a/Cow-2.jpg"], "Cow"),
    ],
)
def test_beginnings_of_file_names(tmp_path, names, label):
    others = ["owl 1.jpg", "owl 2.jpg"]
    expected = {**dict.fromkeys(names, label), **dict.fromkeys(others, "owl")}
    assert labelled(photos(tmp_path, *names, *others)) == ("names", expected)


@pytest.mark.parametrize(
    "name",
    ["IMG_1234", "IMG_1235_edited", "DSC01234", "_DSC0012", "DSCN0001", "PXL_20240501_123456789", "P1010001",
     "IMG-20240501-WA0001", "20240501_123456", "2024-05-01 12.00.00", "WhatsApp Image 2024-05-01 at 12.00.00",
     "Screenshot 2024-05-01 at 12.00.00", "photo (3)", "a title of its own", "MVIMG_20240501_123456", "DJI_0001"],
)  # fmt: skip
def test_names_of_cameras_and_titles_are_no_classes(tmp_path, name):
    named = [f"{kind}_{k}.jpg" for kind in ("cat", "owl") for k in range(2)]
    # As an album has them: a series of each kind, and more of the classes, so that these are found.
    series = [f"{name}.jpg", f"{name.replace('1', '2')}.jpg"]
    _, found = labelled(photos(tmp_path, *named, *series), "names")
    assert [*found] == named


def test_keywords(tmp_path):
    root = keyword_photos(tmp_path, a=["cat", "Sofa"], b=["dog", "2024"], c=["sofa"], d=["photo"], e=["background"])
    expected = {"a.jpg": "cat;Sofa", "b.jpg": "dog", "c.jpg": "sofa", "e.jpg": "background"}
    assert labelled(root) == ("keywords", expected)
    assert check_labels(root, root / "labels.csv").classes == ["Sofa", "cat", "dog"]


def test_photos_that_cannot_be_looked_into_are_counted(tmp_path, capsys):
    root = keyword_photos(tmp_path, a=["cat"], b=["dog"])
    (root / "c.jpg").write_bytes(b"no photo")
    assert labelled(root, "keywords")[1] == {"a.jpg": "cat", "b.jpg": "dog"}
    told = capsys.readouterr().err
    assert f"1 photos cannot be looked into for keywords; first: The image {root}/c.jpg cannot be read" in told
    assert f"1 photos of {root} are not in {root}/labels.csv and are left out, such as c.jpg" in told


def test_sources_that_differ_are_asked_about(tmp_path):
    root = photos(tmp_path, *[f"room {room}/{kind}_{k}.jpg" for room in "ab" for kind in ("cat", "dog") for k in "12"])
    with pytest.raises(InputError) as info:
        label_folder(root, root / "labels.csv")
    assert "folders: room a, room b (8 of 8 photos); names: cat, dog (8 of 8 photos); say which with --from" in str(
        info.value
    )
    assert not (root / "labels.csv").exists()
    assert labelled(root, "names")[1]["room a/dog_2.jpg"] == "dog"
    assert labelled(root, "folders")[1]["room a/dog_2.jpg"] == "room a"


def test_what_labels_fewer_than_half_is_asked_about(tmp_path):
    root = photos(tmp_path, "cat/1.jpg", "dog/2.jpg", *[f"IMG_{k}.jpg" for k in range(3)])
    with pytest.raises(InputError, match=r"less than half of them, by folders: cat, dog \(2 of 5 photos\); say which"):
        label_folder(root, root / "labels.csv")
    assert labelled(root, "folders")[1] == {"cat/1.jpg": "cat", "dog/2.jpg": "dog"}


def test_one_name_for_all_gives_way_to_several(tmp_path):
    root = photos(tmp_path, *[f"holiday/{kind}_{k}.jpg" for kind in ("cat", "dog") for k in range(2)])
    assert labelled(root)[0] == "names"


def test_several_folders_of_a_photo_are_asked_about_and_answered_by_a_list(tmp_path):
    root = photos(tmp_path, "animal/cat/1.jpg", "animal/dog/2.jpg", "car/3.jpg", "train/4.jpg")
    with pytest.raises(InputError, match=r"animal/cat/1\.jpg lies in several folders .*\(animal, cat\).*classes\.txt"):
        label_folder(root, root / "labels.csv")
    (root / "classes.txt").write_text("train\nAnimal\ncat\n")
    expected = {"animal/cat/1.jpg": "animal;cat", "animal/dog/2.jpg": "animal", "train/4.jpg": "train"}
    assert labelled(root) == ("folders", expected)
    assert check_labels(root, root / "labels.csv").classes == ["train", "Animal", "cat"]


@pytest.mark.parametrize(
    ("names", "source", "message"),
    [
        (["IMG_1.jpg", "IMG_2.jpg"], None, "folders, names, keywords of the photos of .* name no class; sort"),
        (["cat/1.jpg", "dog/2.jpg"], "keywords", "The keywords of the photos"),
        (["cat/1.jpg", "dog/2.jpg"], "names", "The names of the photos"),
        (["0/1.jpg", "1/2.jpg"], None, "name no class; sort"),
        (["train/1.jpg", "val/2.jpg"], "folders", "name no class; sort"),
        ([], None, "holds no photo"),
        (["masks/1.png"], None, "holds no photo"),
        (["cat/1\n.jpg", "dog/2.jpg"], None, r"cat/1\\n.jpg' holds a line break"),
        (["cat/1\udcff.jpg", "dog/2.jpg"], None, "rename the file"),
        (["unknown/1.jpg", "none/2.jpg"], "folders", "name no class; sort"),
        (["test/cat/1.jpg", "test/dog/2.jpg"], None, "folders val or test; none is left to train on"),
    ],
)  # fmt: skip
def test_what_cannot_be_labelled_is_refused_before_anything_is_written(tmp_path, names, source, message):
    with pytest.raises(InputError, match=message):
        label_folder(photos(tmp_path, *names), tmp_path / "labels.csv", source=source)
    assert not (tmp_path / "labels.csv").exists()


def test_a_list_that_names_none_of_them_is_named(tmp_path):
    root = photos(tmp_path, "cats/1.jpg", "dogs/2.jpg")
    (root / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError, match=r"name no class of .*classes\.txt"):
        label_folder(root, root / "labels.csv")


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match="gone is no folder"):
        label_folder(tmp_path / "gone", tmp_path / "gone" / "labels.csv")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat/1.jpg", "cats/2.jpg"], r"labels\.csv, line 3: 'cats' beside 'cat'; write them alike, or list both"),
        (["a/1.jpg", "b/2.jpg", "c/3.jpg", "d/4.jpg"], "each of the 4 classes has one training photo alone"),
    ],
)
def test_what_a_run_would_ask_is_asked_at_once(tmp_path, names, message):
    root = photos(tmp_path, *names)
    label_folder(root, root / "labels.csv")
    with pytest.raises(InputError, match=message):
        check_labels(root, root / "labels.csv")


def test_classes_that_will_be_hard_to_learn_are_told(tmp_path, capsys):
    names = [
        f"cat, {kind}/{k}.jpg" for kind, count in (("dog", FEW_PHOTOS), ("owl", FEW_PHOTOS - 1)) for k in range(count)
    ]
    labelled(photos(tmp_path, *names))
    told = capsys.readouterr().err
    assert "every training image shows cat; nothing tells where it is not" in told
    assert f"fewer than {FEW_PHOTOS} training photos show owl; add" in told


def test_the_jpeg_of_a_photo_in_two_formats_is_taken(tmp_path, capsys):
    root = photos(tmp_path, "cat/1.JPG", "cat/1.HEIC", "dog/2.jpg")
    assert labelled(root)[1] == {"cat/1.JPG": "cat", "dog/2.jpg": "dog"}
    assert (
        "1 photos are there in several formats, such as cat/1.HEIC, of which cat/1.JPG is taken"
        in capsys.readouterr().err
    )


def test_a_table_of_the_users_stays(tmp_path):
    root = photos(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (root / "labels.csv").write_text("mine")
    with pytest.raises(InputError, match=r"labels\.csv exists and is not what this command wrote"):
        label_folder(root, root / "labels.csv")
    assert (root / "labels.csv").read_text() == "mine"
    assert labelled(root, force=True) == labelled(root)  # its own it replaces


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("pets", "pets"),
        ("me/photos", "me_photos"),
        ("my pets (2)", "my_pets_2"),
        ("фото", "photos_"),
        ("x/Füße", "F_e_"),
    ],
)
def test_folders_get_results_of_their_own(tmp_path, folder, name):
    found = re.search(r'"name": "(\w+)"', run_command(tmp_path / folder, tmp_path / folder / "labels.csv"))[1]
    assert found.startswith(name) and (found == name) != name.endswith("_")


@pytest.mark.parametrize("place", ["labels.csv", "../tables/mine.csv"])
def test_the_command_trains_on_the_table(tmp_path, place):
    """The configuration as Snakemake makes it of the command, laid over that of config/folder.yaml."""
    root = photos(tmp_path / 'it\'s my: "pets", $x', "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "tables").mkdir()
    label_folder(root, root / place)
    ssc, run, *arguments = shlex.split(run_command(root, root / place))
    assert (ssc, run) == (str(Path(sys.executable).with_name("ssc")), "run")
    command = snakemake_command(arguments)
    configfile, values = (command[command.index(option) + 1] for option in ("--configfile", "--config"))
    config = yaml.safe_load(Path(configfile).read_text())
    config["dataset"].update(parse_config([values])["dataset"])
    settings = resolve(complete(config), "ssc")
    assert settings.dataset.name == "it_s_my_pets_x"
    index = build_index(settings.dataset.model_dump())
    assert [(row.image, row.labels) for row in index.rows] == [
        (f"{root}/cat/1.jpg", (1,)),
        (f"{root}/dog/2.jpg", (2,)),
    ]
