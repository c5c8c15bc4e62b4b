"""The archive for the VOC evaluation server."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from ssc import archive
from ssc.constants import voc_palette
from ssc.data.index import Index, Row, write_index
from ssc.data.voc import VOC_CLASSES
from ssc.runtime.errors import InputError
from ssc.stages.voc_test_archive import write_voc_archive

MAPS = {
    name: np.random.default_rng(k).integers(0, 21, (6 + k, 9)) for k, name in enumerate(["2008_3", "2008_1", "2009_2"])
}


def write_shards(folder, maps=MAPS, **more):
    """Predictions in two archives; `more` adds label maps to the second."""
    names = list(maps)
    paths = [folder / "1-of-2.zip", folder / "2-of-2.zip"]
    for path, part in zip(paths, (names[:1], names[1:]), strict=True):
        with archive.write(path) as out:
            for name in part:
                out.add_labels(name, maps[name])
            for name, labels in more.items() if path == paths[1] else ():
                out.add_labels(name, labels)
    return paths


@pytest.fixture
def index(tmp_path):
    return write_table(tmp_path / "index.tsv")


def write_table(path, classes=VOC_CLASSES, test=tuple(MAPS)):
    rows = [Row("t", "train", "t.jpg", "", (1,)), Row("v", "val", "v.jpg", "v.png", (1,))]
    write_index(path, Index(classes, rows + [Row(name, "test", f"{name}.jpg", "", ()) for name in test]))
    return path


def test_members_are_the_test_photos_under_the_servers_names(tmp_path, index):
    output = tmp_path / "new" / "results.tar.gz"
    write_voc_archive(index=index, predictions=write_shards(tmp_path), output=output)
    with tarfile.open(output, "r:gz") as packed:
        names = packed.getnames()
        assert names == [f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in sorted(MAPS)]
        for name in names:
            with Image.open(io.BytesIO(packed.extractfile(name).read())) as image:
                assert (image.format, image.mode) == ("PNG", "P")
                # Pillow drops the colours after the last one that is not black.
                assert image.getpalette()[:63] == voc_palette()[:63]
                np.testing.assert_array_equal(np.asarray(image), MAPS[name[-10:-4]])
    assert [path.name for path in output.parent.iterdir()] == ["results.tar.gz"]


def test_equal_predictions_give_equal_bytes(tmp_path, index):
    paths = write_shards(tmp_path)
    for name, order in (("a.tar.gz", paths), ("b.tar.gz", paths[::-1])):
        write_voc_archive(index=index, predictions=order, output=tmp_path / name)
    data = (tmp_path / "a.tar.gz").read_bytes()
    assert data == (tmp_path / "b.tar.gz").read_bytes()
    assert data[3:8] == bytes(5)  # gzip flags (no file name) and time
    assert len(gzip.decompress(data)) % tarfile.RECORDSIZE == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: write_shards(folder)[:1], "The test photo 2008_1 has no prediction"),
        (lambda folder: write_shards(folder) * 2, r"2008_3 is in .*1-of-2\.zip and in .*1-of-2\.zip"),
        (lambda folder: write_shards(folder, v=MAPS["2008_1"]), r"v in .*2-of-2\.zip is no test photo"),
        (
            lambda folder: write_shards(folder, {**MAPS, "2008_1": MAPS["2008_1"] + 1}),
            "The prediction of 2008_1 holds 21; the server takes 0..20",
        ),
    ],
)
def test_incomplete_and_wrong_predictions_are_refused(tmp_path, index, change, sentence):
    with pytest.raises(InputError, match=sentence):
        write_voc_archive(index=index, predictions=change(tmp_path), output=tmp_path / "out" / "results.tar.gz")
    assert not list(tmp_path.glob("out/*"))


def test_only_vocs_classes_and_only_with_test_photos(tmp_path):
    shards = write_shards(tmp_path)
    other = write_table(tmp_path / "other" / "index.tsv", classes=["orbi", "quado"])
    with pytest.raises(InputError, match=r"index\.tsv is of other classes than VOC's 20"):
        write_voc_archive(index=other, predictions=shards, output=tmp_path / "x")
    empty = write_table(tmp_path / "empty" / "index.tsv", test=())
    with pytest.raises(InputError, match=r"index\.tsv lists no test photo; .* dataset\.test_root"):
        write_voc_archive(index=empty, predictions=[], output=tmp_path / "x")
