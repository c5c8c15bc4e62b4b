"""Stages of two sources compared: what differs is told by how much, and where they part."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssc import archive
from ssc.archive import encode_labels
from ssc.cams import upsample
from ssc.cli import main
from ssc.data.index import Index, Row, write_index
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_json
from ssc.workflow.compare import compare_stages

SIZE = (12, 16)
CLASSES = ["cat", "dog"]


def maps(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 3, SIZE).astype(np.uint8) for name in "abcd"}


def cams(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.random((1, 3, 4), np.float32) for name in "abcd"}


def write_stage(folder: Path, found: dict[str, np.ndarray], *, shards: int = 2) -> None:
    """Archives as a run has them: label maps, or CAMs of class 2."""
    for number in range(shards):
        with archive.write(folder / f"{number + 1}-of-{shards}.zip") as writer:
            for name in sorted(found)[number::shards]:
                if found[name].ndim == 3:
                    writer.add_arrays(name, classes=np.array([2], np.int16), cams=found[name])
                else:
                    writer.add_labels(name, found[name])


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of four photos with CAMs and pseudo-labels; masks for two."""
    root = tmp_path / "results" / "set"
    rows = []
    for name in "abcd":
        Image.new("RGB", SIZE[::-1]).save(tmp_path / f"{name}.png")
        rows.append(Row(name, "train", f"{name}.png", "", (2,)))
    write_index(root / "index.tsv", Index(CLASSES, rows))
    write_stage(root / "masks" / "train", {name: found for name, found in maps(9).items() if name in "ab"}, shards=1)
    write_stage(root / "ssc" / "cams", cams())
    write_stage(root / "ssc" / "pseudo_labels", maps())
    return root / "ssc"


def test_a_run_agrees_with_itself(run, capsys, monkeypatch):
    monkeypatch.chdir(run)  # its photos are named from the working folder that it was made in
    found = {row.stage: row for row in compare_stages(run, run)}
    assert list(found) == ["cams", "seeds at 0.2", "pseudo_labels"]
    assert all(row.images == 4 and row.alone == 0 and not row.parts for row in found.values())
    assert found["cams"].difference == (0, 0)
    assert found["pseudo_labels"].agreement == 1 and found["pseudo_labels"].miou == (1, 1)
    for first, second in ((str(run), str(run)), (".", "../ssc"), ("../ssc", ".")):  # from the run's own folder
        assert main(["compare-stages", first, second]) == 0
        assert capsys.readouterr().out.endswith("They agree.\n")


def test_differences_are_measured_and_the_first_parting_is_told(run, tmp_path, capsys):
    other = tmp_path / "theirs"
    changed = {name: found.copy() for name, found in cams().items() if name != "d"}
    changed["b"][0, 1, 2] += 0.0004  # less than storage rounds away
    (other / "cam").mkdir(parents=True)
    for name, found in changed.items():
        np.save(other / "cam" / f"{name}.npy", {"keys": np.array([1]), "cam": np.minimum(found, 1)})
    labels = maps()
    labels["a"][:3] = (labels["a"][:3] + 1) % 3
    labels["c"][0, 0] = 255
    (other / "sem_seg").mkdir()
    for name, found in labels.items():
        (other / "sem_seg" / f"{name}.png").write_bytes(encode_labels(found))
    rows = {row.stage: row for row in compare_stages(run, other)}
    assert rows["cams"].images == 3 and rows["cams"].alone == 1
    assert rows["cams"].difference[0] == pytest.approx(0.0004, rel=1e-3) and not rows["cams"].parts
    assert rows["cams"].difference[1] == pytest.approx(0.0004 / 36, rel=1e-3)
    own = rows["pseudo_labels"]
    assert own.parts and own.agreement == pytest.approx(1 - (3 * 16 + 1) / (4 * 12 * 16))

    def miou(predicted: dict, truth: dict, names: str) -> float:
        counts = np.zeros((3, 3))
        for name in names:
            for label, target in zip(predicted[name].ravel(), truth[name].ravel(), strict=True):
                if target != 255:
                    counts[target, 0 if label == 255 else label] += 1
        hit = np.diag(counts)
        return float((hit / (counts.sum(0) + counts.sum(1) - hit)).mean())

    assert own.miou == pytest.approx((miou(maps(), labels, "abcd"), miou(labels, maps(), "abcd")))
    assert own.miou[0] != own.miou[1]
    assert own.truth == pytest.approx((miou(maps(), maps(9), "ab"), miou(labels, maps(9), "ab")))
    assert main(["compare-stages", str(run), str(other)]) == 1
    out = capsys.readouterr().out
    assert "; 1 are in one of them only" in out and out.endswith("They part at pseudo_labels.\n")


def test_seeds_are_made_of_the_maps_that_each_source_has(run, tmp_path):
    other = tmp_path / "theirs" / "cams"
    other.mkdir(parents=True)
    full = np.zeros((1, *SIZE), np.float32)
    full[:, 2:5] = 1
    for name, found in cams().items():
        np.savez(other / f"{name}.npz", classes=np.array([2]), cams=found, high_res=full)
    for threshold in (0.2, 0.9):
        rows = {row.stage: row for row in compare_stages(run, tmp_path / "theirs", threshold=threshold)}
        enlarged = [upsample(torch.from_numpy(found), SIZE)[0].numpy() for found in cams().values()]
        equal = np.mean([(own > threshold) == (full[0] > threshold) for own in enlarged])
        assert rows[f"seeds at {threshold:g}"].agreement == pytest.approx(equal, abs=1e-12)
        assert rows[f"seeds at {threshold:g}"].parts and not rows["cams"].parts


def test_what_another_experiment_made_is_found_and_what_one_lacks_is_told(run, tmp_path, capsys):
    """An experiment that shares its CAMs: they lie in the folder of the first, as its manifest says."""
    own = run.parent / "mine"
    changed = maps()
    changed["a"][0, 0] = (changed["a"][0, 0] + 1) % 3
    write_stage(own / "pseudo_labels", changed)
    folders = {"cams": "ssc/cams", "pseudo_labels": "mine/pseudo_labels"}
    files = {stage: {f"{folder}/{k}-of-2.zip": "" for k in (1, 2)} for stage, folder in folders.items()}
    write_json(own / "manifest.json", {"files": files})
    write_stage(run / "irn_labels", maps())
    rows = {row.stage: row for row in compare_stages(run, own)}
    assert rows["cams"].images == 4 and rows["cams"].difference == (0, 0)
    assert (rows["irn_labels"].images, rows["irn_labels"].alone) == (0, 4) and not rows["irn_labels"].parts
    assert rows["pseudo_labels"].agreement == pytest.approx(1 - 1 / (4 * 12 * 16))
    assert main(["compare-stages", str(run), str(own)]) == 1
    assert "irn_labels     0 images: in one of them only\n" in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(run, tmp_path, capsys):
    with pytest.raises(InputError, match=r"Neither .* nor .* is the folder of a run"):
        compare_stages(tmp_path, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="have no image of any stage in common"):
        compare_stages(run, tmp_path / "empty")
    write_stage(tmp_path / "small" / "pseudo_labels", {"a": np.zeros((3, 3), np.uint8)})
    with pytest.raises(InputError, match=r"a: the first has maps \(12, 16\), the second \(3, 3\)"):
        compare_stages(run, tmp_path / "small")
    np.savez_compressed(tmp_path / "a.npz", classes=np.array([1]), cams=np.zeros((1, 3, 4)))
    (tmp_path / "others" / "cams").mkdir(parents=True)
    (tmp_path / "a.npz").rename(tmp_path / "others" / "cams" / "a.npz")
    with pytest.raises(InputError, match=r"a: the first has classes \[2\], the second \[1\]"):
        compare_stages(run, tmp_path / "others")
    assert main(["compare-stages", str(run), str(tmp_path / "empty")]) == 2
    assert capsys.readouterr().err.startswith("Error: ")
