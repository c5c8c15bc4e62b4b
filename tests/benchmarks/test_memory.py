"""Bytes saved for the backward pass: hand-made graphs, and the two formulations of a step."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from benchmarks.memory import (
    PAPER,
    ROWS,
    measure_rows,
    memory_table,
    saved_bytes,
    write_memory,
)
from benchmarks.released_step import ReleasedDRS, dense_alignment_loss, released_decoder, released_losses
from ssc.cli import main
from ssc.losses import alignment_loss
from ssc.models import CAMClassifier, DiscriminativeRegionSuppression, ReconstructionNet
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_tsv
from ssc.training.classifier import build_reconstruction_loss, classifier_losses
from ssc.workflow.config import complete, load_schema

SCHEMA = load_schema(Path(__file__).parents[2] / "config" / "schema.yaml")
TINY = {**PAPER, "backbone": "tiny", "crop": 64, "cdr": {**PAPER["cdr"], "network": "tiny", "width": 16}}
FLOAT = 4  # bytes


@pytest.fixture(scope="module")
def rows():
    return measure_rows(TINY, num_classes=20)


# Counting


def leaf(*shape):
    return torch.ones(*shape, requires_grad=True)


def cut_off(x):
    middle = (2 * x.exp()).detach()
    return (middle * leaf(10)).exp()


@pytest.mark.parametrize(
    ("step", "saved", "held"),
    [
        (lambda x: x.exp(), 10, 10),  # the output
        (lambda x: x.exp().exp(), 20, 20),
        (lambda x: x + 1, 0, 0),
        (lambda x: x.sin(), 10, 10),  # the input
        (lambda x: (x.sin(), x.cos()), 10, 10),  # the same input
        (lambda x: (x[:3].sin(), x[5:].cos()), 10, 10),  # two views of it: its whole storage
        (lambda x: x.exp().view(2, 5).sin(), 10, 10),  # output of one, and as a view input of the next
        (lambda x: x.detach() + 1, 0, 0),
        (cut_off, 30, 20),  # the first exponential is saved, but by a graph that is gone
    ],
)
def test_every_storage_counts_once(step, saved, held):
    x = leaf(10)
    assert saved_bytes(partial(step, x)) == (saved * FLOAT, held * FLOAT)


def test_what_is_left_out_does_not_count_nor_do_its_views():
    x = leaf(10)
    assert saved_bytes(lambda: (x[:3].sin(), x.exp()), leave_out=[x]) == (10 * FLOAT, 10 * FLOAT)


def test_a_convolution_saves_input_and_weight():
    layer, x = nn.Conv2d(3, 5, 3, bias=False), torch.ones(2, 3, 8, 8)
    assert saved_bytes(lambda: layer(x))[0] == (x.numel() + layer.weight.numel()) * FLOAT
    assert saved_bytes(lambda: layer(x), leave_out=layer.parameters())[0] == x.numel() * FLOAT


def test_addresses_that_are_used_again_count_again():
    def step():
        x = leaf(1000)
        for _ in range(5):
            x = x.exp().detach().requires_grad_()  # each graph, and with it the saved output's, dies at once
        return x

    assert saved_bytes(step) == (5000 * FLOAT, 1000 * FLOAT)


def test_counting_keeps_nothing_alive():
    made = []

    def step():
        output = leaf(10).exp()
        made.append(StorageWeakRef(output.untyped_storage()))
        return output

    saved_bytes(step)
    assert made[0].expired()


# The two formulations


def random_scene(size=64, classes=3):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, size, size, generator=generator)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    blocks = torch.arange(size) // 8
    regions = torch.stack([8 * blocks[:, None] + blocks, 20 - blocks[:, None] - blocks])
    return image, labels, regions


def test_released_suppression_has_the_same_values():
    x = torch.randn(2, 5, 7, 6, generator=torch.Generator().manual_seed(0)).relu()
    assert torch.equal(ReleasedDRS(0.55)(x), DiscriminativeRegionSuppression(0.55)(x))


@pytest.mark.parametrize("reliable", [True, False])
def test_released_alignment_has_the_same_value_and_gradient(reliable):
    _, labels, regions = random_scene()
    options = {"threshold": 0.3, "erosion": 3, "reliable": reliable}
    losses, gradients = [], []
    for formulation in (alignment_loss, dense_alignment_loss):
        features = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
        loss = formulation(features, regions, labels, **options)
        loss.backward()
        losses.append(loss.item())
        gradients.append(features.grad)
    assert losses[0] > 1e-3
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("change", [{}, {"source": "early"}, {"rectify": True}, {"loss": "l1"}])
def test_released_losses_have_the_same_values(change):
    image, labels, regions = random_scene()
    settings = {**TINY, "cdr": {**TINY["cdr"], **change}}
    torch.manual_seed(0)
    model = CAMClassifier(3, "tiny").train()
    decoder = ReconstructionNet(48 if change.get("source") == "early" else 3, width=16)
    shared = {"settings": settings, "reconstruction_loss": build_reconstruction_loss(settings["cdr"], None)}
    ours = classifier_losses(model, image, labels, regions, epoch=2, decoder=decoder, **shared)
    released = released_losses(model, image, labels, regions, decoder=released_decoder(decoder), **shared)
    assert list(ours) == list(released) == ["classification", "reconstruction", "alignment"]
    for name in ours:
        assert ours[name].item() == pytest.approx(released[name].item(), rel=1e-5)


def test_rows_grow_and_ours_is_never_larger(rows):
    assert [row["row"] for row in rows] == list(ROWS)
    for name in ("released", "released_held", "fast", "lean"):
        assert sorted({row[name] for row in rows}) == [row[name] for row in rows]
    for row in rows:
        assert 0 < row["lean"] <= row["fast"] <= row["released_held"] <= row["released"]
    assert rows[3]["fast"] < 0.45 * rows[3]["released_held"] and rows[3]["lean"] < 0.6 * rows[3]["fast"]
    assert [row["paper_gb"] for row in rows] == [3.2, None, 10.6, 14.2]


def test_self_modulation_saves_a_fiftieth_of_the_released(rows):
    released, ours = (rows[3][name] - rows[2][name] for name in ("released", "fast"))
    assert released >= 50 * ours > 0
    # One-hot superpixels repeated for 20 classes are most of it.
    assert released == pytest.approx(20 * 64 * 32 * 32 * FLOAT, rel=0.2)


def test_released_formulation_is_the_papers():
    """In GB at 512 px, where six images make Table IX; the bytes per pixel hardly depend on the size."""
    rows = measure_rows({**PAPER, "crop": 64}, num_classes=20)
    scaled = [row["released"] * (512 / 64) ** 2 / 1e9 for row in rows]
    assert scaled == pytest.approx([0.505, 0.573, 1.739, 2.113], rel=0.02)


def test_bytes_per_image_do_not_depend_on_the_batch(rows):
    for one, three in zip(rows, measure_rows(TINY, num_classes=20, batch=3), strict=True):
        for name in ("released", "fast", "lean"):
            assert three[name] == pytest.approx(one[name], rel=0.01)


def test_bf16_saves_half(rows):
    """Without the copies of the weights, which are the same for one photo and for three."""
    one, three = (measure_rows(TINY, num_classes=20, batch=batch, precision="bf16") for batch in (1, 3))
    for full, single, triple in zip(rows[:3], one, three, strict=False):
        for name in ("fast", "lean"):
            assert 0.4 < (3 * triple[name] - single[name]) / 2 / full[name] < 0.7


# Input and output


def test_default_settings_are_those_of_the_schema():
    schema = complete({"dataset": {"name": "a", "kind": "demo"}}, SCHEMA)["classifier"]
    assert {key: schema[key] for key in PAPER if not isinstance(PAPER[key], dict)} == {
        key: value for key, value in PAPER.items() if not isinstance(value, dict)
    }
    for section in ("drs", "cdr", "asm"):
        assert {key: schema[section][key] for key in PAPER[section]} == PAPER[section]


@pytest.mark.parametrize(
    ("settings", "counts", "sentence"),
    [
        ({"crop": 100}, {}, "size 100 must be a multiple of the output stride 16"),
        ({"crop": 16}, {}, "and 32 or more"),
        ({}, {"num_classes": 0}, "number of classes is 0"),
        ({}, {"max_regions": 0}, "number of superpixels is 0"),
        ({}, {"batch": -1}, "number of photos per step is -1"),
    ],
)
def test_impossible_settings_are_refused(settings, counts, sentence):
    with pytest.raises(InputError, match=sentence):
        measure_rows({**TINY, **settings}, **{"num_classes": 2, **counts})


def test_table_of_an_experiment(tmp_path):
    settings = complete(
        {
            "dataset": {"name": "a", "kind": "demo"},
            "classifier": {
                "backbone": "tiny", "weights": "none", "output_stride": 8, "crop": 48, "batch_size": 4,
                "cdr": {"network": "tiny", "weights": "none", "width": 16}, "asm": {"enabled": False},
            },
        },
        SCHEMA,
    )["classifier"]  # fmt: skip
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    output = tmp_path / "memory.tsv"
    write_memory(classes=tmp_path / "classes.txt", output=output, settings=settings, max_regions=10)
    table = read_tsv(output)
    expected = measure_rows(settings, num_classes=2, max_regions=10)
    assert [row["row"] for row in table] == list(ROWS)
    assert [row["paper_gb"] for row in table] == ["3.2", "", "10.6", "14.2"]
    assert {row["batch_size"] for row in table} == {"4"}
    for row, own in zip(table, expected, strict=True):
        for name in ("released", "released_held", "fast", "lean"):
            assert row[f"{name}_mb"] == f"{own[name] / 1e6:.1f}"
    # The last row has ASM, though the experiment is without.
    assert expected[3]["released"] > expected[2]["released"]


def test_text_names_rows_and_the_papers_gigabytes():
    row = {"row": "baseline", "released": 505.4e6, "released_held": 4e8, "fast": 3e8, "lean": 2e8, "paper_gb": 3.2}
    lines = memory_table([row, {**row, "row": "baseline + DRS", "paper_gb": None}]).splitlines()
    assert lines[2].split() == ["baseline", "505.4", "400.0", "300.0", "200.0", "3.03", "3.2"]
    assert lines[3].split()[-1] == "-"


def test_command_prints_the_table(capsys):
    assert main(["memory", "--size", "32", "--backbone", "tiny", "--classes", "2"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name}  " in printed for name in ROWS)


@pytest.mark.parametrize(
    ("option", "value", "sentence"), [("--size", "50", "size 50"), ("--backbone", "resnet5", "'resnet5'")]
)
def test_command_refuses(capsys, option, value, sentence):
    assert main(["memory", option, value]) == 1
    assert sentence in capsys.readouterr().err
