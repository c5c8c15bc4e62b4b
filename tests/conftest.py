import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real photos with annotations (`voc`, `coco`, ...), outside the repository; tests skip without it."""
    beside = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("SSC_SHARED", beside)) / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set SSC_SHARED to the folder that holds data/")
    return folder
