import pytest

from tests.faults.harness import Campaign


@pytest.fixture(scope="session")
def campaign(tmp_path_factory):
    """One undisturbed run, made when it is first asked for, which the tests of faults, reruns and determinism share."""
    return Campaign(tmp_path_factory.mktemp("campaign"), quick=True)
