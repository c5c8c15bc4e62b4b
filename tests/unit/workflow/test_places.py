"""Where photos must lie for jobs that share no file system."""

import pytest

from ssc.runtime.errors import InputError
from ssc.workflow.places import check_seen_everywhere


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"root": "photos"}, "dataset.root is 'photos'"),
        ({"root": "/photos", "max_side": 1024}, "dataset.max_side is 1024"),
        ({"kind": "voc", "root": "/voc", "sbd": "download"}, "dataset.sbd is 'download'"),
        ({"kind": "demo"}, "dataset.kind is 'demo'"),
    ],
)
def test_photos_that_other_machines_do_not_see_are_told(change, told):
    with pytest.raises(InputError, match=told):
        check_seen_everywhere({"kind": "folder", **change})


def test_photos_under_an_absolute_path_are_seen():
    check_seen_everywhere({"kind": "folder", "root": "/photos", "images": "images", "max_side": None})
