"""The benchmarks' reference formulations agree with ours, and their table says what was measured."""

import json
import mmap
import os
import sys

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import (
    alignment_loss,
    classifier_step,
    demo,
    harness,
    irn_losses,
    loader,
    miou,
    random_walk,
    scaling_images,
    scenes,
    superpixels,
)
from benchmarks.harness import Figure, Row, row_record
from benchmarks.released_step import dense_alignment_loss
from ssc.affinity import irn_losses as shifted_losses
from ssc.affinity import random_walk as walk
from ssc.constants import IGNORE
from ssc.losses import alignment_loss as asm_loss
from ssc.models.perceptual import VGG19Features
from ssc.runtime.errors import InputError
from ssc.workflow.settings import Classifier


def test_dense_walk_is_ours():
    cams, edges = random_walk.inputs(9, 12)
    dense = random_walk.dense_random_walk(cams, edges)
    assert dense.std() > 1e-4
    torch.testing.assert_close(walk(cams, edges), dense, rtol=1e-4, atol=1e-6)


def test_dense_alignment_loss_is_ours():
    arguments = alignment_loss.inputs(2, 192)  # no map has its maximum at two pixels
    dense, dense_gradient = alignment_loss.value_and_gradient(dense_alignment_loss, *arguments)
    value, gradient = alignment_loss.value_and_gradient(asm_loss, *arguments)
    assert value > 1e-4 and gradient.abs().max() > 1e-5
    assert value == pytest.approx(dense, rel=1e-5)
    torch.testing.assert_close(gradient, dense_gradient, rtol=1e-3, atol=1e-7)


def test_indexed_irn_losses_are_ours():
    edges, displacement, labels = irn_losses.inputs(2, 24)
    assert {0, 5, 12, IGNORE} == set(labels.unique().tolist())
    tables = irn_losses.path_tables(24, 24, 5)
    ours = shifted_losses(edges, displacement, labels, 5)
    indexed = irn_losses.indexed_losses(edges, displacement, labels, tables)
    assert indexed.keys() == ours.keys() and all(value > 0 for value in ours.values())
    for name, value in ours.items():
        torch.testing.assert_close(indexed[name], value, msg=name)


def test_the_loader_reads_what_it_has_written(tmp_path):
    (row,) = loader.write_photos(tmp_path / "photos", (60, 80), 1)
    for training, sample in loader.samplers(tmp_path / "photos").items():
        image, *rest = sample(row, np.random.default_rng(0))
        assert image.shape == (3, loader.CROP, loader.CROP), training
        assert rest


def test_every_stage_runs_on_the_images_of_the_scaling(tmp_path):
    few = scaling_images.WARM_UP
    scaling_images.write_data(tmp_path, [few])
    for stage in scaling_images.stages(tmp_path, few, most=few).values():
        stage()
    assert (tmp_path / str(few) / "counts.json").exists()


def test_paths_of_the_tables_run_from_target_to_source():
    for offsets, paths in irn_losses.path_tables(7, 12, 4):
        steps = paths[:, 0] - paths[:, -1]
        assert torch.equal(steps, (offsets[:, 0] * 12 + offsets[:, 1])[:, None].expand_as(steps))


@pytest.fixture
def small_vgg(monkeypatch):
    """VGG-19 of torchvision without its large fully connected layers."""

    def build(weights=None, init_weights=True):
        network = torch.nn.Module()
        network.features = VGG19Features(taps="pool").features
        return network

    monkeypatch.setattr(classifier_step, "vgg19", build)


def test_steps_of_the_classifier_have_equal_losses(small_vgg, tmp_path):
    settings = Classifier(backbone="tiny", crop=64, cdr={"width": 16})
    weights = tmp_path / "vgg19.safetensors"
    classifier_step.save_loss_network(weights)
    values = {}
    for formulation in ("reference", "fast", "lean"):
        _, step, constant = classifier_step.build(formulation, "fp32", settings, 2, weights)
        assert all(isinstance(tensor, torch.Tensor) for tensor in constant)
        step()
        values[formulation] = step()  # after an update of all weights
    assert set(values["reference"]) == {"classification", "reconstruction", "alignment"}
    assert all(value > 0 for value in values["reference"].values())
    for name in ("fast", "lean"):
        assert values[name] == pytest.approx(values["reference"], rel=2e-3), name


def test_counts_are_those_of_a_loop():
    pairs = miou.label_maps(1, (9, 11))
    expected = np.zeros((miou.CLASSES, miou.CLASSES), np.int64)
    for target, prediction in zip(*(labels.ravel() for labels in pairs[0]), strict=True):
        if target != IGNORE:
            expected[target, prediction] += 1
    assert 0 < expected.sum() < 99
    np.testing.assert_array_equal(miou.count(pairs), expected)


def test_unmerged_superpixels_are_more():
    image = scenes.drawn_photo(60, 80)
    assert superpixels.unmerged(image).max() > 63


def test_scores_of_superpixels():
    truth = np.array([[0, 0, 1, 1]] * 4)
    labels = np.array([[0, 0, 0, 1]] * 4)
    assert superpixels.achievable_accuracy(labels, truth) == 0.75
    assert superpixels.undersegmentation_error(labels, truth) == 0.5  # 4 pixels, once for each segment
    assert superpixels.boundary_recall(labels, truth, tolerance=0) == 0
    assert superpixels.boundary_recall(labels, truth, tolerance=1) == 1


def test_cells_are_nearest_to_their_seeds():
    labels = scenes.cells(12, 17, 5, seed=3)
    chosen = np.random.default_rng(3).choice(12 * 17, 5, replace=False)
    y, x = np.mgrid[:12, :17]
    distance = np.stack([(y - seed // 17) ** 2 + (x - seed % 17) ** 2 for seed in chosen])
    np.testing.assert_array_equal(np.take_along_axis(distance, labels[None], 0)[0], distance.min(axis=0))


def test_ridges_stand_between_cells_alone():
    partition = np.repeat(np.arange(2), 10)[None].repeat(6, axis=0)
    edges = scenes.ridges(partition)
    assert edges[:, 10].min() >= 0.5 and edges[:, :8].max() < 0.06 and edges[:, 13:].max() < 0.06


def test_folder_without_photos_of_the_size_is_named(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} holds no JPEG of 500 x 375"):
        scenes.photos_of(tmp_path)


def test_functions_take_turns():
    order = []
    functions = {name: lambda name=name: order.append(name) or len(order) for name in ("a", "b")}
    seconds, results = harness.interleaved(functions, rounds=2, calls={"b": 2})
    assert order == ["a", "b", "b"] * 2
    assert results == {"a": 4, "b": 6} and seconds.keys() == results.keys()


def _peak(megabytes):
    """Growth over a call that fills pages of its own, which no allocator has kept."""

    def fill():
        with mmap.mmap(-1, megabytes * 1_000_000) as pages:
            pages.write(bytes(megabytes * 1_000_000))

    peak, before = harness.peak_memory(fill)
    return peak - before


def test_peak_memory_is_of_this_call_alone():
    assert _peak(200) > 195e6
    assert 15e6 < _peak(20) < 100e6  # the earlier peak is forgotten


def test_exponent_is_that_of_a_power():
    assert harness.exponent([1, 2, 4], [3, 12, 48]) == 2
    time, memory = harness.scaling_figures("stage", [50, 100, 200], [(0.1, 100), (0.2, 5_000_000), (0.4, 3_000)])
    assert time.value == 1 and memory.value == 0 and time.passed and memory.passed
    assert memory.parts == {"1x": 0.0001, "2x": 5, "4x": 0.003}
    assert not harness.scaling_figures("stage", [1, 2], [(1, 0), (2.2, 0)])[0].passed


def test_limits_are_kept_at_their_ends():
    assert Figure("", 2, at_most=2).passed and Figure("", 2, at_least=2).passed
    assert Figure("", 2.1, at_most=2).passed is False and Figure("", 1.9, at_least=2).passed is False
    assert Figure("", 2).passed is None
    assert Figure("", float("nan"), at_most=2).passed is False


ROW = Row(
    "walk",
    "dense, ours",
    [
        Figure("ratio", 4000.4, "x", at_least=300, parts={"dense": 4, "ours": 0.001}, parts_unit="s"),
        Figure("size", 0.5),
    ],
    note="a note",
)


def test_record_is_json_with_verdicts_and_the_machine():
    record = json.loads(json.dumps(row_record(ROW, quick=False)))
    assert record["passed"] is True and record["machine"]["cores"] == os.cpu_count()
    assert [figure["passed"] for figure in record["figures"]] == [True, None]
    failing = Row("walk", "", [*ROW.figures, Figure("size", 3, at_most=2)])
    assert row_record(failing, quick=False)["passed"] is False
    assert row_record(failing, quick=True)["passed"] is None
    assert row_record(Row("walk", ""), quick=False)["passed"] is None


def test_tables_show_figures_limits_and_verdicts():
    record = row_record(ROW, quick=False)
    lines = harness.table([record, row_record(Row("none", "nothing"), quick=False)]).splitlines()
    assert lines[0] == "walk: PASS"
    assert lines[2].split() == ["ratio", "dense", "4,", "ours", "0.001", "s", "4000", "x", ">=", "300", "PASS"]
    assert lines[3].split() == ["size", "0.5", "-"]
    assert lines[4].strip() == "a note" and "none: -" in lines
    markdown = harness.markdown_table([record]).splitlines()
    assert markdown[2] == "| **walk** | dense, ours. a note | | | | **PASS** |"
    assert markdown[3] == "| | ratio | dense 4, ours 0.001 s | 4000 x | >= 300 | PASS |"


def test_row_writes_its_json_and_quick_ones_apart(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["walk", "--quick"])
    harness.run(lambda *, quick: ROW)
    assert json.loads((tmp_path / "quick" / "walk.json").read_text())["passed"] is None
    assert "walk: -" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["walk"])
    harness.run(lambda *, quick: ROW)
    assert json.loads((tmp_path / "walk.json").read_text())["passed"] is True


def test_row_tells_an_input_error_in_a_sentence(monkeypatch):
    def measure(*, quick):
        raise InputError("no photos")

    monkeypatch.setattr(sys, "argv", ["walk"])
    with pytest.raises(SystemExit, match="Error: no photos"):
        harness.run(measure)


def test_rows_are_the_modules():
    files = {path.stem for path in (harness.ROOT / "benchmarks").glob("*.py")}
    assert set(command.ROWS) == files - {"__init__", "__main__", "harness", "exact_stages", "released_step", "scenes"}
    page = command.DOCS.read_text()
    assert all(f"| `{row}` |" in page for row in command.ROWS)
    assert page.count(command.BEGIN) == page.count(command.END) == 1


def test_docs_hold_the_table_of_one_machine(monkeypatch, tmp_path):
    page = tmp_path / "benchmarks.md"
    monkeypatch.setattr(command, "DOCS", page)
    page.write_text(f"Before.\n{command.BEGIN}\nold\n{command.END}\nAfter.\n")
    record = row_record(ROW, quick=False)
    for _ in range(2):
        command.write_docs([record])
    text = page.read_text()
    assert text.startswith("Before.") and text.endswith("After.\n") and "old" not in text
    assert text.count("**walk**") == 1 and record["machine"]["cpu"] in text
    other = {**record, "machine": {**record["machine"], "cores": 1000}}
    with pytest.raises(InputError, match="2 machines"):
        command.write_docs([record, other])
    with pytest.raises(InputError, match="0 machines"):
        command.write_docs([])
    page.write_text("no markers")
    with pytest.raises(InputError, match="lacks the lines"):
        command.write_docs([record])


def _job(path, *, end, seconds, memory):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\n{seconds}\t{memory}\n")
    os.utime(path, (end, end))


def test_time_of_the_demo_is_from_the_first_start_to_the_last_end(tmp_path):
    assert demo.figures(tmp_path) == ([], demo.ABSENT)
    (tmp_path / "ssc").mkdir()
    (tmp_path / "ssc" / "metrics.tsv").touch()
    _job(tmp_path / "benchmarks" / "index.tsv", end=1010, seconds=10, memory="-")
    _job(tmp_path / "ssc" / "benchmarks" / "a.tsv", end=1100, seconds=88, memory="500")
    _job(tmp_path / "ssc" / "benchmarks" / "b.tsv", end=1090, seconds=60, memory="2000.0")
    (time, memory), note = demo.figures(tmp_path)
    assert time.value == pytest.approx(100 / 60) and memory.value == 2 and not note
    assert time.parts["of all jobs together"] == pytest.approx(158 / 60)
    _job(tmp_path / "ssc" / "benchmarks" / "later.tsv", end=1200, seconds=5, memory="100")
    assert demo.figures(tmp_path) == ([memory], demo.PIECES)
