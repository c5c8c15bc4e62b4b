from types import SimpleNamespace

import pytest

from tests.unit.training.trainings import KINDS, make_data, train


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> SimpleNamespace:
    """Six photos and what the trainings read of them."""
    return make_data(tmp_path_factory.mktemp("data"), count=6, noise=60)


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory) -> SimpleNamespace:
    """What each undisturbed training of nine steps gives, by its kind, and the folder of its weights."""
    folder = tmp_path_factory.mktemp("trained")
    return SimpleNamespace(folder=folder, **{kind: train(kind, data, folder / f"{kind}.safetensors") for kind in KINDS})
