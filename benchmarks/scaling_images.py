"""Time and memory of each stage at 1x, 2x and 4x the images, on demo data, with the fitted exponents.

    python -m benchmarks.scaling_images

The settings are the demo's (config.yaml), with random initial weights and trainings of one epoch. Each measurement has
a process of its own, in which the stage has run on four images before. Memory is what the process holds at most beyond
what it held then: it should not grow at all.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks.harness import ROOT, Row, in_fresh_process, interleaved, peak_memory, run, scaling_figures
from ssc.data.build import build_index
from ssc.data.demo import generate
from ssc.data.index import Index, write_index
from ssc.stages.cams import write_cams
from ssc.stages.evaluate import count_labels
from ssc.stages.irn_labels import write_irn_labels
from ssc.stages.masks import write_masks
from ssc.stages.predictions import write_predictions
from ssc.stages.pseudo_labels import write_pseudo_labels
from ssc.stages.superpixels import write_superpixels
from ssc.training.classifier import train_classifier
from ssc.training.irn import train_irn
from ssc.training.run import Run
from ssc.training.segmentation import train_segmentation
from ssc.workflow.config import complete, resolve
from ssc.workflow.settings import Settings

FACTORS = (1, 2, 4)
WARM_UP = 4  # images
SHARD = {"shard": "1-of-1"}


def settings(train: int) -> Settings:
    """The demo's configuration, with that many training images and trainings of one epoch."""
    demo = {**yaml.safe_load((ROOT / "config.yaml").read_text()), "ablation": {}}  # its sweeps need other files
    demo["dataset"] |= {"train": train, "val": 1}
    for training in ("classifier", "irn", "segmentation"):
        demo[training]["epochs"] = 1
    return resolve(complete(demo), "ssc")


def write_data(folder: Path, counts: list[int]) -> None:
    """Scenes and masks, and for each count the index of the first so many training images."""
    config = settings(max(counts))
    generate(folder / "data", **config.dataset.model_dump(include={"train", "val", "size", "seed"}))
    index = build_index({"kind": "folder", "root": str(folder / "data"), "masks": "masks"})
    rows = index.split("train")
    for count in counts:
        write_index(folder / str(count) / "index.tsv", Index(index.classes, rows[:count]))
    write_masks(rows, index.num_classes, folder / "masks.zip", settings=config.masks)


def stages(folder: Path, count: int, *, most: int) -> dict[str, Callable[[], None]]:
    """Each stage on the first `count` images, in the order of the road; reads what those before made of `most`."""
    config = settings(most)
    made, own = folder / str(most), folder / str(count)
    index = {"index": own / "index.tsv"}

    def training(name: str) -> Run:
        return Run(output=own / f"{name}.safetensors", losses=own / f"{name}_losses.tsv", seed=0)

    return {
        "superpixels": lambda: write_superpixels(
            **index, **SHARD, output=own / "superpixels.zip", settings=config.superpixels
        ),
        "classifier": lambda: train_classifier(
            training("classifier"), **index, superpixels=[made / "superpixels.zip"], initial=None, loss_weights=None,
            settings=config.classifier,
        ),
        "CAMs": lambda: write_cams(
            **index, **SHARD, weights=made / "classifier.safetensors", superpixels=None, output=own / "cams.zip",
            settings=config.cams,
        ),
        "IRN labels": lambda: write_irn_labels(
            **index, **SHARD, cams=made / "cams.zip", output=own / "irn_labels.zip", settings=config.irn_labels
        ),
        "IRN": lambda: train_irn(
            training("irn"), **index, labels=[made / "irn_labels.zip"], initial=None, settings=config.irn
        ),
        "pseudo-labels": lambda: write_pseudo_labels(
            **index, **SHARD, cams=made / "cams.zip", weights=made / "irn.safetensors",
            output=own / "pseudo_labels.zip", confidence=own / "confidence.zip", settings=config.pseudo_labels,
        ),
        "segmentation": lambda: train_segmentation(
            training("segmentation"), **index, pseudo_labels=[made / "pseudo_labels.zip"], confidence=[], initial=None,
            settings=config.segmentation,
        ),
        "predictions": lambda: write_predictions(
            **index, **SHARD, split="train", weights=made / "segmentation.safetensors", output=own / "predictions.zip",
            steps=own / "steps.zip", settings=config.prediction,
        ),
        "evaluation": lambda: count_labels(
            **index, **SHARD, split="train", stage="segmentation", labels=made / "predictions.zip",
            masks=folder / "masks.zip", output=own / "counts.json",
        ),
    }  # fmt: skip


def cost(folder: Path, stage: str, count: int, most: int) -> tuple[float, int]:
    """Seconds of a stage on `count` images, and the bytes that it takes beyond what is there; of one run, as the next
    would find its results in the cache."""
    for path in (folder / str(WARM_UP)).rglob("*"):  # an earlier process's, which would be found likewise
        if path.is_file() and path.name not in ("index.tsv", "classes.txt"):
            path.unlink()
    stages(folder, WARM_UP, most=most)[stage]()
    step = stages(folder, count, most=most)[stage]
    seconds, results = interleaved({"stage": lambda: peak_memory(step)}, rounds=1)
    peak, before = results["stage"]
    return seconds["stage"], peak - before


def measure(*, quick: bool) -> Row:
    """Exponents of time and memory over the number of images, by stage."""
    counts = [(2 * WARM_UP if quick else 64) * factor for factor in FACTORS]
    most = counts[-1]
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder, [WARM_UP, *counts])
        for stage in stages(folder, most, most=most):
            # The largest first: the next stage reads what it makes.
            costs = {count: in_fresh_process(cost, folder, stage, count, most) for count in reversed(counts)}
            figures += scaling_figures(stage, counts, [costs[count] for count in counts])
    images = ", ".join(map(str, counts))
    return Row("scaling_images", f"stages on {images} images of the demo, trainings of one epoch", figures)


if __name__ == "__main__":
    run(measure)
