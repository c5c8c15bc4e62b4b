"""Tables of labels as people and spreadsheets write them."""

import pytest

from ssc.data.label_table import read_label_table
from ssc.runtime.errors import InputError


@pytest.fixture
def read(tmp_path):
    """Reads a table, text or bytes, with a class list if one is given."""

    def read(csv: str | bytes, classes: str | bytes | None = None) -> tuple[list[str], list[tuple]]:
        (tmp_path / "labels.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
        if classes is not None:
            (tmp_path / "classes.txt").write_bytes(classes if isinstance(classes, bytes) else classes.encode())
        names, entries = read_label_table(
            tmp_path / "labels.csv", classes=None if classes is None else tmp_path / "classes.txt"
        )
        return names, [(str(entry.image), entry.split, entry.labels) for entry in entries]

    return read


TWO = [("a.jpg", "train", ("cat", "dog")), ("b.jpg", "val", ("dog",))]


@pytest.mark.parametrize(
    "csv",
    [
        "image,labels,split\na.jpg,cat;dog,train\nb.jpg,dog,val\n",
        "image,labels,split\na.jpg,cat;dog,\nb.jpg,dog,val",
        "image,labels,split\na.jpg,cat;dog\nb.jpg,dog,val",
        "split,labels,image\ntrain,cat;dog,a.jpg\nval,dog,b.jpg\n",
        'image,labels,split\na.jpg,"cat, dog",train\nb.jpg,dog,val\n',
        "image,labels,split\na.jpg,cat|dog,train\nb.jpg,dog,val\n",
        "image,labels,split\na.jpg,cat ; dog ;,train\n b.jpg ,dog , val \n",
        'image;labels;split\r\na.jpg;"cat;dog";train\r\nb.jpg;dog;val\r\n',
        "image;labels;split\na.jpg;cat,dog;train\nb.jpg;dog;val\n",
        "sep=;\nimage;labels;split\na.jpg;cat|dog;train\nb.jpg;dog;val\n",
        "image\tlabels\tsplit\na.jpg\tcat;dog\ttrain\nb.jpg\tdog\tval\n",
        "Image,Labels,Split\na.jpg,cat;dog,Train\nb.jpg,dog,VAL\n",
        "filename,label,split\na.jpg,cat;dog,train\nb.jpg,dog,val\n",
        "image,labels,split,\na.jpg,cat;dog,train,\nb.jpg,dog,val,\n",
        "image,labels,split\na.jpg,cat,train\na.jpg,dog,train\nb.jpg,dog,val\n",
        "image,labels,split\na.jpg,cat;dog;_background_,train\nb.jpg,dog,val\n",
        "image,labels,split\ra.jpg,cat;dog,train\rb.jpg,dog,val\r",
        "\ufeffimage,labels,split\r\na.jpg,cat;dog,train\r\n\r\n,,\r\nb.jpg,dog,val\r\n",
        "image,labels,split\na.jpg,cat;dog,train\nb.jpg,dog,val\n".encode("utf-16"),
        "image,labels,split\na.jpg,Cat;dog,train\nb.jpg,DOG,val\na.jpg,cat;cat,train\nb.jpg,dog,val\n",
        "image,labels,split\n./a.jpg,cat;dog,train\nb.jpg,dog,val\n",
    ],
)
def test_what_is_unambiguous_is_read(read, csv):
    assert read(csv) == (["cat", "dog"], TWO)


def test_paths_of_windows(read):
    assert read("image,labels\npets\\0.jpg,cat\n")[1] == [("pets/0.jpg", "train", ("cat",))]


@pytest.mark.parametrize(
    ("cells", "name", "told"),
    [
        ("Cat;cat;cat", "cat", "'Cat' is read as 'cat'"),
        ("caf\u00e9;cafe\u0301;caf\u00e9", "caf\u00e9", "is read as 'caf\u00e9'"),
        ("potted  plant;potted plant;potted plant", "potted plant", "is read as 'potted plant'"),
        ("cat;background", "cat", "'background' is read as no class"),
    ],
)
def test_spellings_of_one_class_are_one_class_and_told(read, capsys, cells, name, told):
    lines = "".join(f"{k}.jpg,{cell}\n" for k, cell in enumerate(cells.split(";")))
    names, entries = read(f"image,labels\n{lines}")
    assert names == [name]
    assert {labels for *_, labels in entries} <= {(name,), ()}
    assert told in capsys.readouterr().err


def test_nothing_is_told_of_a_plain_table(read, capsys):
    read("image,labels,split\na.jpg,cat;dog,train\nb.jpg,,val\n")
    assert capsys.readouterr().err == ""


def test_the_list_fixes_order_and_spelling(read):
    names, entries = read("image,labels\na.jpg,Cat;cats\n", "dog\ncat\ncats\n")
    assert (names, entries) == (["dog", "cat", "cats"], [("a.jpg", "train", ("cat", "cats"))])


def test_a_name_of_the_list_may_hold_a_comma_or_be_no_word(read):
    _, entries = read('image,labels\na.jpg,"light, red;none;7"\n', "light, red\nnone\n7\n")
    assert entries == [("a.jpg", "train", ("light, red", "none", "7"))]


def test_lists_may_begin_with_the_background(read):
    assert read("image,labels\na.jpg,cat\n", "__ignore__\n_background_\ncat\ndog\n")[0] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("csv", "classes", "message"),
    [
        ("image,labels,split\na.jpg,cat,valid\n", None, r"csv, line 2: unknown split 'valid'"),
        ("image,labels,splits\na.jpg,cat,val\n", None, "has the column 'splits'; expected image, labels"),
        ("a.jpg,cat\nb.jpg,dog\n", None, "begins with 'a.jpg,cat'; expected the names of its columns"),
        ("image\na.jpg\n", None, "begins with 'image'"),
        ("", None, "begins with ''"),
        ("image,labels\na.jpg\n", None, "line 2: expected 2 cells, found 1; add what is missing"),
        ("image,labels\na.jpg,cat,dog\n", None, "line 2: expected 2 cells, found 3; quote"),
        ("image,labels\n,cat\n", None, "line 2: image ''"),
        ("image,labels\n../images/a.jpg,cat\n", None, r"line 2: image '\.\./images/a\.jpg' is no path below"),
        ("image,labels\n/a.jpg,cat\n", None, r"line 2: image '/a\.jpg'"),
        ('image,labels\n"a.jpg"x,cat\n', None, "not a valid CSV"),
        ("image,labels\na.jpg,gro\u00df\n".encode("cp1252"), None, r"is not UTF-8, as b'\\xdf' in line 2 shows"),
        ("image,labels\na.jpg,cat\n", "gro\u00df\n".encode("cp1252"), r"classes.txt is not UTF-8"),
        ("image,labels,split\na.jpg,cat,train\na.jpg,cat,val\n", None, "line 3: a.jpg is of split train in line 2"),
        ("image,labels\na.jpg,none\nb.jpg,cat\nc.jpg,none\n", None, "lines 2, 4: 'none' is no class; leave"),
        ("image,labels\na.jpg,nan\nb.jpg,cat\n", None, "line 2: 'nan' is no class"),
        ("image,labels\na.jpg,__ignore__\nb.jpg,cat\n", None, "'__ignore__' is no class"),
        ("image,labels\na.jpg,Unlabeled\nb.jpg,cat\n", "cat\n", "'Unlabeled' is no class"),
        ("image,labels\na.jpg,cat\nb.jpg,cats\n", None, "line 3: 'cats' beside 'cat'; write them alike, or list both"),
        ("image,labels\na.jpg,fox;foxes\n", None, "'foxes' beside 'fox'"),
        ("image,labels\na.jpg,cat;cow\n", "cat\ndog\n", r"line 2: class 'cow' is not in the class list \(cat, dog\)"),
        ("image,labels\na.jpg,cats\n", "cat\ndog\n", r"line 2: class 'cats' is not in the class list; did you mean"),
        ("image,labels\na.jpg,0;1\nb.jpg,10\n", None, r"the labels are numbers \(0, 1, 10\); write names"),
    ],
)  # fmt: skip
def test_what_is_not_is_asked(read, csv, classes, message):
    with pytest.raises(InputError, match=message):
        read(csv, classes)


def test_all_faults_are_told_at_once(read):
    with pytest.raises(InputError) as info:
        read("image,labels,split\n../a.jpg,cat,train\nb.jpg,cats,valid\nc.jpg,none,val\n")
    told = str(info.value).splitlines()
    assert told[0].endswith("labels.csv has 4 faults:")
    assert [line.split(":")[0].strip() for line in told[1:]] == ["line 2", "line 3", "line 4", "line 3"]
