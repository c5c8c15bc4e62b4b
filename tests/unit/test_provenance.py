import shutil
from pathlib import Path

import pytest

from ssc.workflow import provenance
from ssc.workflow.provenance import file_digest, import_closure, result_identity, source_digest


def forget():
    """Let the package be read anew."""
    for function in (source_digest, provenance._code, provenance._imports):
        function.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files a test may edit."""
    root = tmp_path / "ssc"
    shutil.copytree(Path(provenance.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_ROOT", root)
    forget()
    yield root
    forget()


def digest(module):
    forget()
    return source_digest(module)


def test_closure_follows_imports_and_leaves_others_out():
    closure = import_closure("ssc.stages.irn_labels")
    assert {"ssc.stages.irn_labels", "ssc.crf", "ssc.crf.permutohedral", "ssc.archive", "ssc.data.index"} <= closure
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


def test_an_identity_holds_code_values_and_the_content_of_files(package, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "same").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    forget()
    one = result_identity("ssc.seeds", {"x": 1, "y": None}, [tmp_path / "a", None])
    assert one == result_identity("ssc.seeds", {"y": None, "x": 1}, [tmp_path / "same", None])
    others = {
        result_identity("ssc.crf", {"x": 1, "y": None}, [tmp_path / "a", None]),
        result_identity("ssc.seeds", {"x": 2, "y": None}, [tmp_path / "a", None]),
        result_identity("ssc.seeds", {"x": 1, "y": None}, [tmp_path / "b", None]),
        result_identity("ssc.seeds", {"x": 1, "y": None}, [None, tmp_path / "a"]),
    }
    path = package / "metrics.py"
    path.write_text(path.read_text() + "\nEXTRA = 1\n")
    forget()
    others.add(result_identity("ssc.seeds", {"x": 1, "y": None}, [tmp_path / "a", None]))
    assert len(others | {one}) == 6


def test_file_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
