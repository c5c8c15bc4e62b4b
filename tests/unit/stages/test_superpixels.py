import numpy as np

from ssc.archive import Archive
from ssc.data.photos import read_image
from ssc.stages.superpixels import write_superpixels
from ssc.superpixels import superpixels
from ssc.workflow.settings import Superpixels


def test_a_shard_is_written_with_the_settings_of_the_config(tiny_set, tmp_path):
    section = Superpixels(max_regions=3, scale=20, min_size=5)
    write_superpixels(index=tiny_set, shard="1-of-1", output=tmp_path / "out.zip", settings=section, threads=2)
    written = Archive(tmp_path / "out.zip")
    assert written.ids() == ["a", "b", "c"]
    for name in written.ids():
        expected = superpixels(read_image(tiny_set.with_name(f"{name}.png")), 3, scale=20, sigma=0.8, min_size=5)
        np.testing.assert_array_equal(written.labels(name), expected)
