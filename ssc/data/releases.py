"""The published data sets that can be downloaded, and what the word `download` in the configuration stands for."""

from dataclasses import dataclass

FOLDER = "resources/data"

_COCO = "http://images.cocodataset.org"


@dataclass(frozen=True)
class Release:
    """One archive.

    Attributes:
        url: where its makers publish it.
        checksum: `md5:<digits>` of the archive.
    """

    url: str
    checksum: str


RELEASES = {
    "voc2012": Release(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "md5:6cd6e144f989b92b3379bac3b3de84fd",
    ),
    "sbd": Release(
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        "md5:82b4d87ceb2ed10f6038a1cba92111cb",
    ),
    "coco2014_train": Release(f"{_COCO}/zips/train2014.zip", "md5:0da8c0bd3d6becc4dcb32757491aca88"),
    "coco2014_val": Release(f"{_COCO}/zips/val2014.zip", "md5:a3d79f5ed8d289b7a7554ce06a5782b3"),
    "coco2014_annotations": Release(
        f"{_COCO}/annotations/annotations_trainval2014.zip", "md5:0a379cfc70b0e71301e0f377548639bd"
    ),
}

# By kind of data set and key of the `dataset` section: the release, and the path in it that the key means.
DOWNLOADS = {
    "voc": {"root": ("voc2012", "VOCdevkit"), "sbd": ("sbd", "benchmark_RELEASE")},
    "coco": {
        "train_images": ("coco2014_train", "train2014"),
        "train_instances": ("coco2014_annotations", "annotations/instances_train2014.json"),
        "val_images": ("coco2014_val", "val2014"),
        "val_instances": ("coco2014_annotations", "annotations/instances_val2014.json"),
    },
}


def archive_url(release: str, *, mirror: str | None = None) -> str:
    """Address of a release's archive: its makers', or the file of the same name in the folder `mirror`."""
    url = RELEASES[release].url
    return f"{mirror.rstrip('/')}/{url.rsplit('/', 1)[1]}" if mirror else url


def release_folders(dataset: dict) -> list[str]:
    """Folders of the unpacked releases that a `dataset` section wants downloaded, each once."""
    return list(dict.fromkeys(f"{FOLDER}/{release}" for release, _ in _wanted(dataset).values()))


def located(dataset: dict) -> dict:
    """A `dataset` section with paths in place of the word `download`."""
    paths = {key: f"{FOLDER}/{release}/{path}" for key, (release, path) in _wanted(dataset).items()}
    return dataset | paths


def _wanted(dataset: dict) -> dict[str, tuple[str, str]]:
    places = DOWNLOADS.get(dataset["kind"], {})
    return {key: place for key, place in places.items() if dataset[key] == "download"}
