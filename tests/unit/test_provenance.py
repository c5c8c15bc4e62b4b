import json
import shutil
from pathlib import Path

import pytest

from ssc import provenance
from ssc.provenance import import_closure, source_digest, write_manifest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files a test may edit."""
    root = tmp_path / "ssc"
    shutil.copytree(Path(provenance.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_ROOT", root)
    source_digest.cache_clear()
    yield root
    source_digest.cache_clear()


def digest(module):
    source_digest.cache_clear()
    return source_digest(module)


def test_closure_follows_imports_and_leaves_others_out():
    closure = import_closure("ssc.irn_labels")
    assert {"ssc.irn_labels", "ssc.crf", "ssc.permutohedral", "ssc.archive", "ssc.data.index"} <= closure
    assert not closure & {"ssc.affinity", "ssc.training.irn", "ssc.models.deeplab", "ssc.models", "ssc.cli"}


def test_stages_do_not_depend_on_later_ones():
    assert "ssc.models.irn" not in import_closure("ssc.training.classifier")
    assert "ssc.superpixels" not in import_closure("ssc.training.classifier")
    assert "ssc.affinity" not in import_closure("ssc.training.segmentation")
    assert "ssc.training.classifier" not in import_closure("ssc.pseudo_labels")


def test_comments_docstrings_and_layout_do_not_count(package):
    before = digest("ssc.seeds")
    path = package / "metrics.py"
    path.write_text('"""Another docstring."""\n\n# a remark\n' + path.read_text().split('"""', 2)[2] + "\n\n\n")
    assert digest("ssc.seeds") == before


def test_code_of_an_imported_module_counts(package):
    before, other = digest("ssc.seeds"), digest("ssc.crf")
    path = package / "metrics.py"
    path.write_text(path.read_text() + "\nEXTRA = 1\n")
    assert digest("ssc.seeds") != before
    assert digest("ssc.crf") == other


def test_nested_import_counts(package):
    (package / "crf.py").write_text("def f():\n    from ssc.metrics import summary\n    return summary\n")
    assert "ssc.metrics" in import_closure("ssc.crf")


def test_manifest_says_where_a_result_came_from(tmp_path):
    write_manifest(tmp_path / "manifest.json", config={"seed": 3, "a": 1}, experiment="ssc")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["seed"] == 3
    assert manifest["packages"]["numpy"]
    write_manifest(tmp_path / "other.json", config={"a": 1, "seed": 3}, experiment="ssc")
    assert json.loads((tmp_path / "other.json").read_text())["config_digest"] == manifest["config_digest"]
    write_manifest(tmp_path / "third.json", config={"a": 2, "seed": 3}, experiment="ssc")
    assert json.loads((tmp_path / "third.json").read_text())["config_digest"] != manifest["config_digest"]
