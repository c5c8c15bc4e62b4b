"""The workflow as its users meet it: run, run again, change a key, compare experiments, start from what is ready."""

import csv
import json
import os
import re
import shutil

import numpy as np
import pytest

from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.models.weights import read_header
from ssc.runtime.files import read_table
from ssc.workflow.stage_table import STAGES
from ssc.workflow.verify import check_run
from tests.faults.snakemake import ROOT, TINY, Place, jobs


@pytest.fixture(scope="module")
def run(campaign):
    """A copy of the finished run, to which the tests add experiments."""
    return campaign.finished("experiments")


def results(place):
    return place.folder / "results" / "tiny"


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
        "index": "18", "masks": "18", "superpixels": "12", "warm_start": "12",
        "train_classifier": "12", "cams": "12", "count_seeds": "12", "evaluate_seeds": "", "irn_labels": "12",
        "train_irn": "12", "random_walk": "12", "count_pseudo_labels": "12", "evaluate_pseudo_labels": "",
        "train_segmentation": "12", "predictions": "6", "count_predictions": "6", "evaluate_predictions": "",
    }  # fmt: skip
    files = [*results(run).glob("benchmarks/**/*.tsv"), *results(run).glob("ssc/benchmarks/**/*.tsv")]
    of_the_report = {"evaluate_classifier", "metrics", "comparison", "verdict", "figures", "panels", "manifest"}
    of_the_report |= {"page", "preview_page"}
    assert rows[-1]["stage"] == "all"
    assert int(rows[-1]["jobs"]) == sum(path.stem not in of_the_report for path in files)


def test_without_labels_of_val_photos_the_classifier_is_cross_validated(campaign):
    place = campaign.finished("cross-validated")
    made = results(place) / "ssc" / "cross_validation.json"
    target = str(made.relative_to(place.folder))
    place.change("classifier.weights", "none")
    place.change("classifier.cdr.weights", "none")
    place.succeed(target)
    assert json.loads(made.read_text())["images"] == 0  # six val photos have labels
    table = place.folder / "photos" / "labels.csv"
    lines = (line.split(",") for line in table.read_text().splitlines())
    table.write_text("".join(f"{name},{'' if split == 'val' else labels},{split}\n" for name, labels, split in lines))
    text = place.succeed(target)
    assert {"index", "cross_validate"} <= {job.rule for job in jobs(text)} <= {"index", "superpixels", "cross_validate"}
    found = json.loads(made.read_text())
    assert (found["split"], found["images"]) == ("train", 12) and 0 < found["guessing"]["map"] <= 1
    assert {"metrics", "verdict"} <= place.planned()


def test_summary_is_printed_at_the_end(campaign):
    assert "mIoU" in campaign.reference_log
    assert "pseudo-labels" in campaign.reference_log


def test_the_verdict_stands_in_the_last_lines(campaign, run):
    verdict = json.loads((results(run) / "ssc" / "verdict.json").read_text())
    figures = verdict["figures"]
    # Two epochs on twelve scenes teach nothing; of val photos nothing can agree with pseudo-labels.
    assert verdict["light"] in ("yellow", "red") and verdict["reasons"][0]["next"]
    assert set(figures) == {"classifier", "cams", "pseudo_labels", "predictions"}
    assert [figures[name]["split"] for name in figures] == ["val", "train", "train", "val"]
    assert [figures[name]["photos"] for name in ("classifier", "pseudo_labels", "predictions")] == [6, 12, 6]
    told = campaign.reference_log.partition("Verdict, ")[2]
    assert verdict["light"].upper() in told.splitlines()[0]
    assert "Open in a browser: results/tiny/ssc/report.html" in told
    assert "ssc predict --weights results/tiny/ssc/segmentation.safetensors photo.jpg --out masks" in told


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


def test_confidence_masks_hold_at_least_half(run):
    masks = Archive(*sorted((results(run) / "ssc" / "confidence").glob("*.zip")))
    shares = [masks.labels(image_id).mean() for image_id in masks.ids()]
    assert all(0.5 <= share <= 1 for share in shares)


def test_pictures_and_manifest(run):
    own = results(run) / "ssc"
    for name in ("panels", "predictions", "seeds", "class_iou", "losses"):
        assert (own / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "**this run**" in (own / "comparison.md").read_text()
    manifest = json.loads((own / "manifest.json").read_text())
    assert manifest["config"]["classifier"]["backbone"] == "tiny"
    assert manifest["packages"]["torch"]
    assert set(check_run(own).values()) == {"same"}


def test_the_page_shows_every_photo_and_a_preview_what_is_there(run):
    own, photos = results(run) / "ssc", read_index(results(run) / "index.tsv").rows
    run.succeed("preview")
    for name in ("report", "preview"):
        page = (own / f"{name}.html").read_text()
        found = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
        assert sorted(photo["id"] for photo in found["photos"]) == sorted(row.id for row in photos)
        assert found["layers"] == ["cams", "pseudo_labels", "predictions"]
        assert "thumbnails(0," in page and list((own / f"{name}_thumbnails").glob("*.js")) == []
        assert ("What it cost" in page) == (name == "report")
    assert run.planned("preview") == set()
    archive = next((own / "pseudo_labels").glob("*.zip"))
    before = archive.stat()
    archive.touch()
    assert run.planned("preview") == {"preview_page"}
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_preview_needs_no_more_than_cams(tmp_path):
    planned = Place(tmp_path).planned("preview")
    assert {"cams", "preview_page"} <= planned
    assert not planned & {"count_seeds", "irn_labels", "random_walk", "metrics", "page"}


def test_no_checkpoint_or_temporary_file_stays(run):
    left = [path for path in results(run).rglob("*") if path.name.endswith((".tmp", ".checkpoint", ".part"))]
    assert left == []


def test_second_run_does_nothing(run):
    assert "Nothing to be done" in run.succeed()


def rules_by_experiment(text):
    """By folder in results/tiny, the rules whose jobs write there."""
    found = {}
    for job in jobs(text):
        found.setdefault(job.outputs[0].split("/")[2], set()).add(job.rule)
    return found


def test_an_experiment_shares_what_comes_before_its_difference(run):
    """What each of four experiments makes of its own; what is left is there already."""
    own = {
        "other_classifier": ("{'classifier': {'drs': {'enabled': False}}}", "train_classifier", {"warm_start"}),
        "other_cams": ("{'cams': {'refine': 'superpixels'}}", "cams", {"train_classifier"}),
        "other_network": (
            "{'segmentation': {'epochs': 3}}",
            "train_segmentation",
            {"train_irn", "random_walk", "cams"},
        ),
        "other_prediction": ("{'prediction': {'flip': False}}", "predictions", {"train_segmentation", "random_walk"}),
    }
    experiments = ", ".join(f"'{name}': {change}" for name, (change, *_) in own.items())
    targets = [f"results/tiny/{name}/metrics.tsv" for name in own]
    planned = rules_by_experiment(
        run.succeed(*targets, "--dry-run", "--config", f"experiments={{{experiments}}}", "experiment=other_cams")
    )
    assert set(planned) == set(own)
    for name, (_, first, shared) in own.items():
        assert {first, "metrics"} <= planned[name]
        assert not planned[name] & shared


def test_an_automatic_threshold_is_made_once_of_the_cams_that_stages_share(run):
    labels = "'irn_labels': {'background_threshold': 'auto'}, 'pseudo_labels': {'threshold': 'auto'}"
    own = f"experiments={{'automatic': {{{labels}}}}}"
    planned = rules_by_experiment(
        run.succeed("results/tiny/automatic/manifest.json", "--dry-run", "--config", own, "experiment=automatic")
    )
    assert planned["ssc"] == {"cam_threshold"}
    assert {"irn_labels", "train_irn", "random_walk"} <= planned["automatic"]
    assert not planned["automatic"] & {"cams", "cam_threshold", "count_seeds"}


@pytest.fixture(scope="module")
def experiments(run):
    """What Snakemake said of an ablation, co-trained networks and ready weights beside the finished run."""
    shutil.copy(results(run) / "ssc" / "segmentation.safetensors", run.folder / "net.safetensors")
    own = (
        "experiments={'mine': {'cams': {'refine': 'superpixels'}, 'seeds': {'threshold': 'auto'}}, "
        "'ready': {'ready': {'segmentation': 'net.safetensors'}}, "
        "'cotrained': {'segmentation': {'training': 'cotraining', 'cotraining': {'online_confidence': 0.3}}, "
        "'prediction': {'scales': [0.75, 1.0]}}}"
    )
    ablation = (
        "ablation={'seeds': [0], 'experiments': ['baseline', 'ssc', 'mine'], 'sweeps': {"
        "'alpha': {'values': [1]}, 'beta': {'values': [1]}, 'erosion': {'values': [4]}}}"
    )
    report = [f"results/tiny/ready/{name}" for name in ("manifest.json", "report.html")]
    return run.succeed("ablation", "segmentation", *report, "--config", ablation, own, "experiment=cotrained")


def test_ablation_compares_experiments_and_makes_once_what_they_share(run, experiments):
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
    pictures = sorted(folder.glob("*.png"))
    assert [path.stem for path in pictures] == ["curves", "panels", "reconstructions", "sweeps"]
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
    parts = read_table(folder / "stages.tsv").set_index(["experiment", "stage"])
    assert list(parts.index) == [("baseline", "seeds"), ("ssc", "seeds"), ("mine", "seeds")]
    assert parts["boundary"].notna().all()
    assert parts.loc[("mine", "seeds"), ["gain_low", "gain_high"]].notna().all()
    chosen = json.loads((results(run) / "mine" / "cam_threshold.json").read_text())["threshold"]
    reported = json.loads((results(run) / "mine" / "seeds.json").read_text())["at_fixed_threshold"]["threshold"]
    assert abs(chosen - reported) <= 0.025 + 1e-9
    assert not (results(run) / "ssc" / "cam_threshold.json").exists()
    # The sweeps' values are the experiment ssc's, whose classifier `mine` has too.
    trained = sorted(path.parent.name for path in results(run).glob("*/classifier.safetensors"))
    assert trained == ["baseline", "ssc"]


def test_cotrained_networks_share_the_pseudo_labels_and_the_run_says_so(run, experiments):
    folder = results(run) / "cotrained"
    assert not (folder / "cams").exists() and not (folder / "pseudo_labels").exists()
    told = re.search(r"In results/tiny/ssc/, since experiment ssc has the same settings for them: (.*)\.", experiments)
    assert told[1].split(", ") == ["classifier", "cams", "seeds", "irn_labels", "irn", "pseudo_labels"]
    figures = json.loads((folder / "segmentation.json").read_text())
    assert list(figures["steps"]) == [
        "single scale", "multi-scale", "multi-scale + flip", "multi-scale + flip + CRF",
    ]  # fmt: skip
    assert figures["steps"]["multi-scale + flip + CRF"] == figures["miou"]
    parts = read_header(folder / "segmentation.safetensors")["parts"]
    assert set(parts) == {"segmentation", "segmentation_2"}


def test_report_of_a_run_on_ready_weights(run, experiments):
    own = results(run) / "ready"
    with (own / "metrics.tsv").open() as handle:
        stages = [row["stage"] for row in csv.DictReader(handle, delimiter="\t")]
    assert stages[:2] == ["data", "segmentation"]
    assert (own / "segmentation.json").read_bytes() == (results(run) / "ssc" / "segmentation.json").read_bytes()
    assert not (own / "cams").exists() and not (own / "pseudo_labels").exists()
    assert set(json.loads((own / "verdict.json").read_text())["figures"]) == {"predictions"}
    assert set(check_run(own).values()) == {"same"}


def test_an_ablation_without_masks_is_told_before_anything_runs(tmp_path):
    change = "dataset={'name': 'mine', 'kind': 'folder', 'root': 'photos', 'masks': None}"
    status, text = Place(tmp_path, configfile=None).run("ablation_table", "--config", change)
    assert status != 0
    assert "dataset.masks is not set" in text
    assert not (tmp_path / "results").exists()


def test_a_run_starts_from_ready_weights_and_files(run, tmp_path):
    """CAMs of the finished run as a folder, its networks as ready weights, on the photos that the demo draws."""
    own = results(run) / "ssc"
    for archive in (own / "cams").glob("*.zip"):
        shutil.unpack_archive(archive, tmp_path / "cams")
    given = {"cams": tmp_path / "cams"} | {name: own / f"{name}.safetensors" for name in ("irn", "segmentation")}
    ready = ", ".join(f"'{name}': '{path}'" for name, path in given.items())
    place = Place(tmp_path / "again")
    call = (
        *("seeds", "pseudo_labels", "segmentation", "results/tiny/plain/pseudo_labels.json"),
        *("--config", "shards=1", f"ready={{{ready}}}", "experiment=ready"),
        "experiments={'ready': {}, 'plain': {'pseudo_labels': {'method': 'none', 'threshold': 0.2}}}",
    )
    text = place.succeed(*call)
    made = {job.rule for job in jobs(text)}
    assert {"demo_data", "ready_cams", "check_weights", "random_walk", "predictions"} <= made
    # All experiments agree in what is ready, so that the first owns it.
    folder = results(place) / "ssc"
    for name in ("seeds.json", "pseudo_labels.json", "segmentation.json"):
        assert json.loads((folder / name).read_text())["miou"] == json.loads((own / name).read_text())["miou"]
    assert not made & {"cams", "train_classifier", "train_irn", "train_segmentation", "superpixels", "warm_start"}
    # Without a walk, pseudo-labels are the seeds at the same threshold.
    plain = json.loads((results(place) / "plain" / "pseudo_labels.json").read_text())
    assert plain["miou"] == json.loads((folder / "seeds.json").read_text())["at_fixed_threshold"]["miou"]
    assert not jobs(place.succeed("--dry-run", *call))
    next((tmp_path / "cams").glob("*.npz")).touch()  # a file that was put in another's place
    assert "ready_cams" in {job.rule for job in jobs(place.succeed("--dry-run", *call))}


def test_other_peoples_cams_go_through_one_judge(tmp_path):
    """As docs/importing.md says it: three folders, each by IRN, by a dense CRF and as they are."""
    text = (ROOT / "docs" / "importing.md").read_text().partition("## One judge")[2]
    judge = tmp_path / "judge.yaml"
    judge.write_text(re.search(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[1])
    planned = Place(tmp_path).succeed("ablation", "--dry-run", "--configfile", TINY, judge)
    found = rules_by_experiment(planned)
    own = {"train_segmentation", "predictions", "evaluate_predictions", "count_pseudo_labels", "evaluate_pseudo_labels"}
    of_cams = {"ready_cams", "cam_threshold", "evaluate_seeds"}
    for name in ("seam", "mctformer", "clip_es"):
        assert own | of_cams | {"irn_labels", "train_irn", "random_walk"} <= found[f"{name}_irn"]
        for method in ("crf", "none"):
            assert own | {"cam_labels"} <= found[f"{name}_{method}"]
            assert not found[f"{name}_{method}"] & {*of_cams, "irn_labels", "train_irn", "random_walk"}
    assert found["ablation"] == {"ablation_table", "score_images", "ablation_panels"}
    assert not {job.rule for job in jobs(planned)} & {"train_classifier", "superpixels", "cams"}


def test_the_shared_warm_start_has_no_experiments_own_window(run):
    small = "experiments={'small': {'classifier': {'crop': 40}}}"
    planned = {job.rule for job in jobs(run.succeed("--dry-run", "--config", "experiment=small", small))}
    assert "train_classifier" in planned and "warm_start" not in planned


def test_ready_weights_of_another_part_are_told_before_anything_is_trained(campaign, run):
    place = campaign.place("wrong-weights", cores=1)
    status, text = place.run("--config", f"ready={{'irn': '{results(run) / 'ssc' / 'segmentation.safetensors'}'}}")
    assert status != 0
    assert "ready.irn" in text
    assert not list((place.folder / "results").rglob("*.safetensors"))


def test_what_is_ready_is_not_made_nor_what_only_it_needs(tmp_path):
    """Four experiments with files ready, beside each other; no two can share anything of their own."""
    ready = {
        "network": (["segmentation"], "", {"check_weights"}),
        "labels": (
            ["pseudo_labels"],
            "",
            {"ready_pseudo_labels", "count_pseudo_labels", "evaluate_pseudo_labels", "train_segmentation"},
        ),
        "cams_and_irn": (
            ["cams", "irn"],
            "",
            {"ready_cams", "count_seeds", "evaluate_seeds", "check_weights", "random_walk", "count_pseudo_labels"}
            | {"evaluate_pseudo_labels", "train_segmentation"},
        ),
        "classifier_and_network": (
            ["classifier", "segmentation"],
            "'cams': {'refine': 'superpixels'}, ",
            {"cams", "evaluate_classifier", "count_seeds", "evaluate_seeds", "check_weights"},
        ),
    }
    own = []
    for name, (stages, change, _) in ready.items():
        for stage in stages:
            (tmp_path / f"{name}_{stage}").touch()
        files = ", ".join(f"'{stage}': '{name}_{stage}'" for stage in stages)
        own.append(f"'{name}': {{{change}'ready': {{{files}}}}}")
    names = ("metrics.tsv", "comparison.tsv", "manifest.json", "report.html", "figures/losses.png")
    targets = [f"results/tiny/{name}/{file}" for name in ready for file in names]
    text = Place(tmp_path).succeed(*targets, "--dry-run", "--config", f"experiments={{{', '.join(own)}}}")
    found = rules_by_experiment(text)
    always = {"predictions", "count_predictions", "evaluate_predictions"}
    always |= {"metrics", "comparison", "verdict", "figures", "panels", "manifest", "page"}
    assert {name: found[name] for name in ready} == {name: always | rules for name, (*_, rules) in ready.items()}
    assert set(found) - set(ready) == {"data", "index", "masks", "superpixels", "warm_start"}


def test_number_of_jobs_does_not_depend_on_the_number_of_images(campaign, tmp_path):
    planned = Place(tmp_path).succeed("--dry-run", "--config", "dataset={'train': 1000000}")
    others = [job for job in jobs(planned) if job.rule != "demo_data"]
    assert len(others) == len(campaign.reference_jobs)


def test_a_value_of_the_command_line_is_told_before_anything_runs(tmp_path):
    status, text = Place(tmp_path).run("--config", "classifier={'lr': 'fast'}")
    assert status != 0
    assert "classifier.lr: 'fast' should be a number" in text
    assert "Traceback" not in text
    assert not (tmp_path / "results").exists()


def test_the_stage_table_reads_as_the_rules_do():
    """An arrow of the table is one of the workflow, and an arrow of the workflow leads along the table's."""
    # The demo, with the arrows that it does without.
    changes = ["cams={'refine': 'superpixels'}", "seeds={'threshold': 'auto'}", "pseudo_labels={'threshold': 'auto'}"]
    changes += ["irn_labels={'foreground_threshold': 'auto'}"]
    targets = ["all", "results/demo/ssc/cross_validation.json"]
    drawn = Place(ROOT, configfile=None).succeed(*targets, "--rulegraph", "mermaid-js", "--config", *changes)
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    of_rule = {rule.name: name for name, stage in STAGES.items() for rule in stage.rules}
    pairs = ((of_rule.get(names[a]), of_rule.get(names[b])) for a, b in re.findall(r"(id\d+) --> (id\d+)", drawn))
    edges = {(a, b) for a, b in pairs if a and b and a != b}

    def before(stage):
        return set(STAGES[stage].reads).union(*map(before, STAGES[stage].reads))

    assert {(source, stage) for stage in STAGES for source in STAGES[stage].reads} <= edges
    assert [(a, b) for a, b in edges if a not in before(b)] == []


def test_another_workflow_takes_this_one_as_a_module(tmp_path):
    """As config/README.md says it."""
    text = re.search(r"```python\n(.*?)```", (ROOT / "config" / "README.md").read_text(), flags=re.DOTALL)[1]
    (tmp_path / "ssc").symlink_to(ROOT)
    (tmp_path / "my.yaml").write_bytes(TINY.read_bytes())
    (tmp_path / "Snakefile").write_text(text)
    planned = Place(tmp_path, tmp_path, configfile=None).planned()
    assert {"train_classifier", "page"} <= planned
