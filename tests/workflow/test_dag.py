"""The workflow as its users meet it: run, run again, change a key, feed it rubbish. One tiny run serves all tests."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.models.weights import read_header
from ssc.workflow.verify import check_run

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "workflow" / "tiny.yaml"


def snakemake(folder, *arguments, configfile=TINY):
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--configfile", configfile] if configfile else []
    return subprocess.run([*map(str, command), "--cores", "2", *arguments], capture_output=True, text=True, cwd=ROOT)


def planned(folder, *arguments):
    """Rules that a dry run would run, without the target rule."""
    output = snakemake(folder, "--dry-run", "--quiet", "host", *arguments).stdout
    return set(re.findall(r"^(?:local)?rule (\w+):", output, flags=re.M)) - {"all"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done.stdout + done.stderr


def results(run):
    return run[0] / "results" / "tiny"


def test_metrics_hold_every_stage_and_baseline(run):
    with (results(run) / "ssc" / "metrics.tsv").open() as handle:
        rows = {row["stage"]: row for row in csv.DictReader(handle, delimiter="\t")}
    stages = ["data", "superpixels", "warm start", "classifier", "seeds", "IRN labels", "IRN"]
    stages += ["pseudo-labels", "segmentation"]
    assert set(stages) < set(rows)
    for stage in stages:
        assert float(rows[stage]["seconds"]) > 0
    for stage in ("seeds", "pseudo-labels", "segmentation", "baseline: all background", "baseline: image label"):
        assert 0 <= float(rows[stage]["miou"]) <= 100
    assert rows["pseudo-labels"]["images"] == "12"
    assert rows["segmentation"]["images"] == "6"


def test_costs_of_every_rule_add_up(run):
    with (results(run) / "ssc" / "costs.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    photos = {row["rule"]: row["photos"] for row in rows if row["rule"]}
    assert photos == {
        "demo_data": "18", "index": "18", "masks": "18", "superpixels": "12", "warm_start": "12",
        "train_classifier": "12", "cams": "12", "count_seeds": "12", "evaluate_seeds": "", "irn_labels": "12",
        "train_irn": "12", "random_walk": "12", "count_pseudo_labels": "12", "evaluate_pseudo_labels": "",
        "train_segmentation": "12", "predictions": "6", "count_predictions": "6", "evaluate_predictions": "",
    }  # fmt: skip
    files = [*results(run).glob("benchmarks/**/*.tsv"), *results(run).glob("ssc/benchmarks/**/*.tsv")]
    of_the_report = {"metrics", "comparison", "figures", "panels", "manifest"}
    assert rows[-1]["stage"] == "all"
    assert int(rows[-1]["jobs"]) == sum(path.stem not in of_the_report for path in files)


def test_summary_is_printed_at_the_end(run):
    assert "mIoU" in run[1]
    assert "pseudo-labels" in run[1]


def test_archives_hold_every_image_at_its_size(run):
    index = read_index(results(run) / "index.tsv")
    own = results(run) / "ssc"
    superpixels = Archive(*sorted((results(run) / "superpixels").glob("*.zip")))
    for kind in ("irn_labels", "pseudo_labels", "confidence"):
        archive = Archive(*sorted((own / kind).glob("*.zip")))
        assert archive.ids() == sorted(row.id for row in index.split("train"))
        for row in index.split("train"):
            labels = archive.labels(row.id)
            assert labels.shape == (48, 48)
            allowed = {0, 1} if kind == "confidence" else {0, 255, *row.labels}
            assert set(np.unique(labels)) <= allowed
    assert max(superpixels.labels(row.id).max() for row in index.split("train")) < 24
    predictions = Archive(*sorted((own / "predictions" / "val").glob("*.zip")))
    assert predictions.ids() == sorted(row.id for row in index.split("val"))


def test_confidence_mask_keeps_about_half(run):
    masks = Archive(*sorted((results(run) / "ssc" / "confidence").glob("*.zip")))
    kept = [masks.labels(image_id).mean() for image_id in masks.ids()]
    assert all(0.5 <= share <= 1 for share in kept)


def test_pictures_and_manifest(run):
    own = results(run) / "ssc"
    for name in ("panels", "predictions", "seeds", "class_iou", "losses"):
        assert (own / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "**this run**" in (own / "comparison.md").read_text()
    manifest = json.loads((own / "manifest.json").read_text())
    assert manifest["config"]["classifier"]["backbone"] == "tiny"
    assert manifest["packages"]["torch"]
    assert set(check_run(own).values()) == {"same"}


def test_no_checkpoint_or_temporary_file_stays(run):
    left = [path for path in results(run).rglob("*") if path.name.endswith((".tmp", ".checkpoint", ".part"))]
    assert left == []


def test_second_run_does_nothing(run):
    again = snakemake(run[0])
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("own", "first", "shared"),
    [
        ("{'classifier': {'drs': {'enabled': False}}}", "train_classifier", {"superpixels", "warm_start", "index"}),
        ("{'cams': {'refine': 'superpixels'}}", "cams", {"train_classifier", "superpixels"}),
        ("{'segmentation': {'epochs': 3}}", "train_segmentation", {"train_irn", "random_walk", "cams"}),
        ("{'prediction': {'flip': False}}", "predictions", {"train_segmentation", "random_walk"}),
    ],
)
def test_an_experiment_shares_what_comes_before_its_difference(run, own, first, shared):
    rules = planned(run[0], "--config", f"experiments={{'mine': {own}}}", "experiment=mine")
    assert first in rules
    assert "metrics" in rules
    assert not rules & {*shared, "demo_data", "index", "masks"}


def test_ablation_compares_experiments_and_makes_once_what_they_share(run):
    change = (
        "ablation={'seeds': [0], 'experiments': ['baseline', 'ssc', 'mine'], 'sweeps': {"
        "'alpha': {'values': [1]}, 'beta': {'values': [1]}, 'erosion': {'values': [4]}}}"
    )
    mine = "experiments={'mine': {'cams': {'refine': 'superpixels'}}}"
    done = snakemake(run[0], "ablation", "--config", change, mine)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = results(run) / "ablation"
    with (folder / "table.tsv").open() as handle:
        rows = {row["experiment"]: row for row in csv.DictReader(handle, delimiter="\t")}
    assert list(rows) == ["baseline", "ssc", "mine"]
    assert rows["ssc"]["paper_miou"] == "58.3" and rows["mine"]["paper_miou"] == ""
    assert float(rows["ssc"]["gain"]) == pytest.approx(
        float(rows["ssc"]["miou"]) - float(rows["baseline"]["miou"]), abs=0.011
    )
    own = json.loads((results(run) / "ssc" / "seeds.json").read_text())
    assert float(rows["ssc"]["miou"]) == pytest.approx(100 * own["miou"], abs=0.005)
    assert "| baseline | 1 |" in (folder / "table.md").read_text()
    with (folder / "memory.tsv").open() as handle:
        assert len(list(csv.DictReader(handle, delimiter="\t"))) == 4
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    # The sweeps' values are the experiment ssc's, whose classifier `mine` has too.
    trained = sorted(path.parent.name for path in results(run).glob("*/classifier.safetensors"))
    assert trained == ["baseline", "ssc"]


def test_an_ablation_without_masks_is_told_before_anything_runs(tmp_path):
    change = "dataset={'name': 'mine', 'kind': 'folder', 'root': 'photos', 'masks': None}"
    done = snakemake(tmp_path, "ablation_table", "--config", change)
    assert done.returncode != 0
    assert "dataset.masks is not set" in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


def test_cotrained_networks_share_the_pseudo_labels(run):
    own = "{'segmentation': {'training': 'cotraining', 'cotraining': {'online_confidence': 0.3}}}"
    change = [f"experiments={{'cotrained': {own}}}", "experiment=cotrained", "prediction={'scales': [0.75, 1.0]}"]
    done = snakemake(run[0], "segmentation", "--config", *change)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = results(run) / "cotrained"
    assert not (folder / "cams").exists() and not (folder / "pseudo_labels").exists()
    figures = json.loads((folder / "segmentation.json").read_text())
    assert list(figures["steps"]) == [
        "single scale", "multi-scale", "multi-scale + flip", "multi-scale + flip + CRF",
    ]  # fmt: skip
    assert figures["steps"]["multi-scale + flip + CRF"] == figures["miou"]
    parts = read_header(folder / "segmentation.safetensors")["parts"]
    assert set(parts) == {"segmentation", "segmentation_2"}


def test_a_run_starts_from_ready_weights_and_files(run, tmp_path):
    """Superpixels and pseudo-labels of the finished run as folders, its networks as ready weights."""
    own = results(run) / "ssc"
    for name, source in (("labels", own / "pseudo_labels"), ("cams", own / "cams")):
        for archive in source.glob("*.zip"):
            shutil.unpack_archive(archive, tmp_path / name)
    irn, segmentation = own / "irn.safetensors", own / "segmentation.safetensors"
    ready = [
        f"cams={{'folder': '{tmp_path / 'cams'}'}}",
        f"irn={{'trained': '{irn}'}}",
        f"segmentation={{'trained': '{segmentation}'}}",
        "experiment=ready",
        "experiments={'ready': {}}",
    ]
    folder = tmp_path / "again"
    done = snakemake(folder, "--config", *ready)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # All experiments agree in what is ready, so that the first owns it.
    made = folder / "results" / "tiny" / "ssc"
    for name in ("seeds.json", "pseudo_labels.json", "segmentation.json"):
        assert json.loads((made / name).read_text())["miou"] == json.loads((own / name).read_text())["miou"]
    assert not list((folder / "results").rglob("*classifier*")) and not list((folder / "results").rglob("train_*.log"))

    change = [f"pseudo_labels={{'folder': '{tmp_path / 'labels'}'}}", f"segmentation={{'trained': '{segmentation}'}}"]
    assert planned(folder, "--config", *change) & {"random_walk"}
    assert not planned(folder, "--config", *change) & {"train_classifier", "cams", "train_irn", "train_segmentation"}


def test_ready_weights_of_another_part_are_told_before_anything_is_trained(run, tmp_path):
    change = f"segmentation={{'trained': '{results(run) / 'ssc' / 'irn.safetensors'}'}}"
    done = snakemake(tmp_path, "--config", change)
    assert done.returncode != 0
    assert "segmentation.trained" in done.stdout + done.stderr
    assert not list((tmp_path / "results").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("ready", "rules"),
    [
        (["segmentation={'trained': 'ready'}"], {"check_trained"}),
        (
            ["pseudo_labels={'folder': 'ready'}"],
            {"random_walk", "count_pseudo_labels", "evaluate_pseudo_labels", "warm_start"},
        ),
        (
            ["cams={'folder': 'ready'}", "irn={'trained': 'ready'}"],
            {
                "cams",
                "count_seeds",
                "evaluate_seeds",
                "check_trained",
                "random_walk",
                "count_pseudo_labels",
                "evaluate_pseudo_labels",
                "warm_start",
            },
        ),
        (
            ["classifier={'trained': 'ready'}", "segmentation={'trained': 'ready'}", "cams={'refine': 'superpixels'}"],
            {"superpixels", "cams", "count_seeds", "evaluate_seeds", "check_trained"},
        ),
    ],
)
def test_what_is_ready_is_not_made_nor_what_only_it_needs(tmp_path, ready, rules):
    (tmp_path / "ready").touch()
    always = {"demo_data", "index", "masks", "predictions", "count_predictions", "evaluate_predictions"}
    always |= {"metrics", "comparison", "figures", "panels", "manifest"}
    trained = set() if any(own.startswith("segmentation") for own in ready) else {"train_segmentation"}
    assert planned(tmp_path, "--config", *ready) == always | trained | rules


def test_report_of_a_run_on_ready_weights(run):
    shutil.copy(results(run) / "ssc" / "segmentation.safetensors", run[0] / "net.safetensors")
    experiments = "experiments={'ssc': {}, 'ready': {'segmentation': {'trained': 'net.safetensors'}}}"
    done = snakemake(run[0], "--config", experiments, "experiment=ready")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    own = results(run) / "ready"
    with (own / "metrics.tsv").open() as handle:
        stages = [row["stage"] for row in csv.DictReader(handle, delimiter="\t")]
    assert stages[:2] == ["data", "segmentation"]
    assert (own / "segmentation.json").read_bytes() == (results(run) / "ssc" / "segmentation.json").read_bytes()
    assert not (own / "cams").exists() and not (own / "pseudo_labels").exists()


def test_number_of_jobs_does_not_depend_on_the_number_of_images(tmp_path):
    def jobs(count):
        output = snakemake(tmp_path, "--dry-run", "--config", f"dataset={{'train': {count}}}").stdout
        return re.search(r"^total +(\d+)", output, flags=re.M)[1]

    assert jobs(12) == jobs(1_000_000)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("clasifier={'lr': 1}", "did you mean 'classifier'"),
        ("classifier={'drs': {'dleta': 0.5}}", "did you mean 'delta'"),
        ("classifier={'lr': -1}", "classifier.lr"),
        ("experiment=nothing", "'nothing' is not among experiments"),
        ("classifier={'lr': 'fast'}", "classifier.lr"),
        ("irn={'radius': 10}", "irn.crop"),
        ("seeds={'threshold': 0.23}", "seeds.threshold"),
        ("experiments={'masks': {}}", "experiments.masks"),
        ("classifier={'output_stride': 32}", "classifier.output_stride: tiny has 4, 8, 16"),
    ],
)
def test_bad_config_is_told_before_anything_runs(tmp_path, change, sentence):
    done = snakemake(tmp_path, "--config", change)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


def test_folder_with_an_unknown_class_stops_at_the_index(run, tmp_path):
    shutil.copytree(results(run) / "data", tmp_path / "photos")
    table = tmp_path / "photos" / "labels.csv"
    table.write_text(table.read_text().replace("orbi", "dragon", 1))
    change = "dataset={'name': 'mine', 'kind': 'folder', 'root': 'photos', 'masks': 'masks'}"
    done = snakemake(tmp_path, "--config", change)
    assert done.returncode != 0
    assert "dragon" in done.stdout + done.stderr
    assert not (tmp_path / "results" / "mine" / "index.tsv").exists()


def test_damaged_archive_is_named(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "copy")
    archive = tmp_path / "copy" / "results" / "tiny" / "ssc" / "cams" / "1-of-2.zip"
    archive.write_bytes(archive.read_bytes()[:200])
    done = snakemake(tmp_path / "copy", "--forcerun", "count_seeds", "--until", "count_seeds")
    assert done.returncode != 0
    assert f"{archive.relative_to(tmp_path / 'copy')} is damaged, or was changed by hand" in done.stdout + done.stderr


def test_rule_graph_of_the_readme_is_the_workflows():
    drawn = snakemake(ROOT, "--rulegraph", "mermaid-js", configfile=None).stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", drawn)}
    shown = set(re.findall(r"^    (\w+) --> (\w+)$", (ROOT / "README.md").read_text(), flags=re.M))
    assert shown <= edges
    assert {rule for edge in shown for rule in edge} == set(names.values())
