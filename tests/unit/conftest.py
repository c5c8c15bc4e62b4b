import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssc.data.index import Index, Row, write_index


@pytest.fixture(scope="module", autouse=True)
def torch_switches():
    """One thread, since on inputs this small threads only wait for each other; trainings set a global switch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def tiny_set(tmp_path) -> Path:
    """Index of three training photos and three classes: `a` shows classes 1 and 3, `b` class 2, `c` none."""
    rng = np.random.default_rng(0)
    rows = []
    for name, width, height, labels in (("a", 48, 32, (1, 3)), ("b", 35, 29, (2,)), ("c", 24, 20, ())):
        photo = tmp_path / f"{name}.png"
        coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(photo)
        rows.append(Row(id=name, split="train", image=str(photo), mask="", labels=labels))
    write_index(tmp_path / "index.tsv", Index(["orbi", "quado", "trixi"], rows))
    return tmp_path / "index.tsv"


@pytest.fixture
def commit_all(monkeypatch):
    """Function that makes a folder a repository with all its files committed, and returns one that runs git in it."""
    if not shutil.which("git"):
        pytest.skip("git is absent")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def commit(root: Path) -> Callable[..., str]:
        def git(*arguments: str) -> str:
            name = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
            command = ["git", "-C", str(root), *name, *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

        git("init", "-q")
        git("add", "--all", "--force")
        git("commit", "-q", "-m", "first")
        return git

    return commit
