from ssc.data.index import Index, Row
from ssc.data.summary import summary


def rows(split, *labels, mask="", start=0):
    return [Row(f"{split}{start + k}", split, f"{k}.jpg", mask, found) for k, found in enumerate(labels)]


def test_a_small_data_set():
    index = Index(
        ["cat", "guinea pig"],
        rows("train", *[(1,)] * 11, (1, 2), ()) + rows("val", (2,), mask="m.png") + rows("val", (), start=1),
    )
    assert summary(index).splitlines() == [
        "Photos:",
        "  train      13, 12 with labels, 0 with masks",
        "  val         2, 1 with labels, 1 with masks",
        "Training photos of 2 classes:",
        "  cat             12",
        "  guinea pig       1  few",
    ]


def test_of_many_classes_the_rare_ones_are_named():
    index = Index([f"class {k}" for k in range(60)], rows("train", *[tuple(range(1, 60))] * 12, (60,)))
    told = summary(index).splitlines()
    assert told[-2:] == ["  class 59       1  few", "  59 more, of 12 and more"] and len(told) == 5


def test_names_of_copies():
    names = ["a/IMG_1", "a/IMG_1 (2)", "a/img_1 copy", "b/IMG_1", "c/x-1", "c/x-2", "d/2007_000032", "d/2007_000033"]
    names += [f"e/Photo ({k})" for k in range(300)]
    index = Index(["cat"], [Row(name, "train", f"{name}.jpg", "", (1,)) for name in names])
    assert summary(index).splitlines()[-1] == ("Names that look like copies: 1, such as a/IMG_1 and a/IMG_1 (2)")
