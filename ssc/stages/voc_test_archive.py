"""The archive that the PASCAL VOC evaluation server takes: predictions of the 2012 test photos."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from ssc.archive import Archive, encode_labels
from ssc.data.index import read_index
from ssc.data.voc import VOC_CLASSES
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic
from ssc.runtime.progress import track

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"  # competition 6: any training data but the test set


def write_voc_archive(*, index: str | Path, predictions: Iterable[str | Path], output: str | Path) -> None:
    """Pack the predictions of the test split as the server wants them.

    The archive, a .tar.gz, holds `results/VOC2012/Segmentation/comp6_test_cls/<image id>.png` for each test photo, an
    8-bit palette PNG of class ids 0..20. Equal predictions give equal bytes.

    Args:
        index: table of the data set.
        predictions: archives of all shards of the test split.
        output: the .tar.gz to write.

    Raises:
        InputError: the classes are not VOC's, there is no test photo, one has no prediction or several, a prediction
            is of no test photo, or holds a value above 20.
    """
    table = read_index(index)
    if table.classes != VOC_CLASSES:
        raise InputError(f"{index} is of other classes than VOC's 20; the VOC server takes predictions of VOC only.")
    wanted = [row.id for row in table.split("test")]
    if not wanted:
        raise InputError(f"{index} lists no test photo; name the folder of VOC2012test under dataset.test_root.")
    found = {}
    for path in predictions:
        for image_id in Archive(path).ids():
            if image_id in found:
                raise InputError(f"{image_id} is in {found[image_id]} and in {path}; give each shard once.")
            found[image_id] = path
    for image_id in wanted:
        if image_id not in found:
            raise InputError(f"The test photo {image_id} has no prediction; give the archives of all its shards.")
    for image_id in sorted(found.keys() - set(wanted)):
        raise InputError(f"{image_id} in {found[image_id]} is no test photo; give predictions of the test split only.")
    source = Archive(*set(found.values()))
    with (
        atomic(output) as temporary,
        temporary.open("wb") as handle,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=handle, mtime=0) as packed,  # no name and time in the header
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for image_id in track(wanted, "test photos"):
            labels = source.labels(image_id)
            if labels.max() > len(VOC_CLASSES):
                raise InputError(f"The prediction of {image_id} holds {labels.max()}; the server takes 0..20.")
            png = encode_labels(labels)
            member = tarfile.TarInfo(f"{FOLDER}/{image_id}.png")
            member.size = len(png)
            archive.addfile(member, io.BytesIO(png))
