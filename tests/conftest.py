import fcntl
import os
from pathlib import Path

import pytest

from tests.faults.harness import Campaign


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first: they take longest, and the processes that share the tests are to end together."""
    runs = [Path(__file__).parent / name for name in ("workflow", "faults")]
    items.sort(key=lambda item: not any(item.path.is_relative_to(folder) for folder in runs))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real photos with annotations (`voc`, `coco`, ...), outside the repository; tests skip without it."""
    beside = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("SSC_SHARED", beside)) / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set SSC_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(scope="session")
def campaign(tmp_path_factory) -> Campaign:
    """A campaign with one finished run, which all tests and their processes share; who changes it takes a copy."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all processes of pytest-xdist
    folder = base / "a campaign"  # project, photos and results in folders whose path has a space
    folder.mkdir(exist_ok=True)
    campaign = Campaign(folder, quick=True)
    with (base / "campaign.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the first process makes it, the others wait
        _ = campaign.expected
    return campaign
