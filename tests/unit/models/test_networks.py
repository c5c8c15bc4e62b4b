"""The table of networks."""

import subprocess
import sys
from pkgutil import resolve_name

import pytest

from ssc.models.networks import NETWORKS


@pytest.mark.parametrize("name", list(NETWORKS))
def test_builders_exist_and_strides_ascend(name):
    network = NETWORKS[name]
    assert callable(resolve_name(network.builder))
    assert list(network.output_strides) == sorted(set(network.output_strides))


def test_the_table_is_read_without_torch():
    code = "import sys, ssc.models.networks; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_an_unknown_name_of_the_models_is_an_attribute_error():
    import ssc.models

    assert ssc.models.IRN.__module__ == "ssc.models.irn"
    with pytest.raises(AttributeError, match="NoSuchNet"):
        ssc.models.NoSuchNet  # noqa: B018
