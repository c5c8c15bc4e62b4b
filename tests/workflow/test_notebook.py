"""docs/python.ipynb: its cells run from the first to the last, on a finished run."""

import matplotlib.pyplot as plt
import nbformat
import pytest

from tests.faults.snakemake import ROOT

NOTEBOOK = ROOT / "docs" / "python.ipynb"


@pytest.fixture(scope="module")
def cells():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_kept_without_results(cells):
    """They would soon be old; `jupyter nbconvert --clear-output --inplace docs/python.ipynb` takes them away."""
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count] == []


def test_it_runs(cells, campaign, monkeypatch, capsys):
    monkeypatch.chdir(NOTEBOOK.parent)
    plt.switch_backend("agg")
    own = {}
    for cell in cells:
        exec(compile(cell.source, f"{NOTEBOOK.name}, {cell.id}", "exec"), own)
        if "parameters" in cell.metadata.get("tags", []):
            assert own["RUN"] == "../results/demo/ssc"
            own["RUN"] = str(campaign.reference.folder / "results" / "tiny" / "ssc")
    assert own["model"].classes == ("background", "orbi", "quado", "trixi", "astra")
    assert own["found"].labels.shape == own["pseudo_labels"].shape == (48, 48)
    assert len(plt.get_fignums()) == 3 and "without masks: " in capsys.readouterr().out
    plt.close("all")
