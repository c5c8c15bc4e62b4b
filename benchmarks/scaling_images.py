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
from ssc.cams import extract_cams
from ssc.data.build import build_index
from ssc.data.demo import generate
from ssc.data.index import Index, write_index
from ssc.data.masks import write_masks
from ssc.prediction import write_predictions
from ssc.pseudo_labels import write_pseudo_labels
from ssc.stages.evaluate import count_labels
from ssc.stages.irn_labels import write_irn_labels
from ssc.superpixels import write_superpixels
from ssc.training.classifier import train_classifier
from ssc.training.irn import train_irn
from ssc.training.segmentation import train_segmentation
from ssc.workflow.config import complete, load_schema, resolve

FACTORS = (1, 2, 4)
WARM_UP = 4  # images
SHARD = {"shard": "1-of-1"}


def settings(train: int) -> dict:
    """The demo's configuration, with that many training images and trainings of one epoch."""
    schema = load_schema(ROOT / "config" / "schema.yaml")
    demo = {**yaml.safe_load((ROOT / "config.yaml").read_text()), "ablation": {}}  # its sweeps need other files
    config = resolve(complete(demo, schema), schema, "ssc")
    config["dataset"] |= {"train": train, "val": 1}
    for training in ("classifier", "irn", "segmentation"):
        config[training]["epochs"] = 1
    return config


def write_data(folder: Path, counts: list[int]) -> None:
    """Scenes and masks, and for each count the index of the first so many training images."""
    config = settings(max(counts))
    dataset = config["dataset"]
    generate(folder / "data", **{name: dataset[name] for name in ("train", "val", "size", "seed")})
    index = build_index({**dataset, "kind": "folder", "root": str(folder / "data"), "masks": "masks"})
    rows = index.split("train")
    for count in counts:
        write_index(folder / str(count) / "index.tsv", Index(index.classes, rows[:count]))
    write_masks(rows, index.num_classes, folder / "masks.zip")


def stages(folder: Path, count: int, *, most: int) -> dict[str, Callable[[], None]]:
    """Each stage on the first `count` images, in the order of the road; reads what those before made of `most`."""
    config = settings(most)
    made, own = folder / str(most), folder / str(count)
    index = {"index": own / "index.tsv"}
    from_scratch = {"initial": None, "seed": 0}

    def training(name: str) -> dict:
        return {"output": own / f"{name}.safetensors", "history": own / f"{name}.json", "settings": config[name]}

    return {
        "superpixels": lambda: write_superpixels(
            **index, **SHARD, output=own / "superpixels.zip", settings=config["superpixels"]
        ),
        "classifier": lambda: train_classifier(
            **index, superpixels=[made / "superpixels.zip"], loss_weights=None, **from_scratch, **training("classifier")
        ),
        "CAMs": lambda: extract_cams(
            **index, **SHARD, weights=made / "classifier.safetensors", superpixels=None, output=own / "cams.zip",
            settings=config["cams"],
        ),
        "IRN labels": lambda: write_irn_labels(
            **index, **SHARD, cams=made / "cams.zip", output=own / "irn_labels.zip", settings=config["irn_labels"]
        ),
        "IRN": lambda: train_irn(**index, labels=[made / "irn_labels.zip"], **from_scratch, **training("irn")),
        "pseudo-labels": lambda: write_pseudo_labels(
            **index, **SHARD, cams=made / "cams.zip", weights=made / "irn.safetensors",
            output=own / "pseudo_labels.zip", confidence=own / "confidence.zip", settings=config["pseudo_labels"],
        ),
        "segmentation": lambda: train_segmentation(
            **index, pseudo_labels=[made / "pseudo_labels.zip"], confidence=[], **from_scratch,
            **training("segmentation"),
        ),
        "predictions": lambda: write_predictions(
            **index, **SHARD, split="train", weights=made / "segmentation.safetensors", output=own / "predictions.zip",
            steps=own / "steps.zip", settings=config["prediction"],
        ),
        "evaluation": lambda: count_labels(
            **index, **SHARD, split="train", stage="segmentation", labels=made / "predictions.zip",
            masks=folder / "masks.zip", output=own / "counts.json",
        ),
    }  # fmt: skip


def cost(folder: Path, stage: str, count: int, most: int, rounds: int) -> tuple[float, int]:
    """Median seconds of a stage on `count` images, and the bytes that its first run takes beyond what is there."""
    stages(folder, WARM_UP, most=most)[stage]()
    step = stages(folder, count, most=most)[stage]
    peak, before = peak_memory(step)
    seconds, _ = interleaved({"stage": step}, rounds=rounds)
    return seconds["stage"], peak - before


def measure(*, quick: bool) -> Row:
    """Exponents of time and memory over the number of images, by stage."""
    counts = [(WARM_UP if quick else 64) * factor for factor in FACTORS]
    most = counts[-1]
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder, [WARM_UP, *counts])
        for stage in stages(folder, most, most=most):
            # The largest first: the next stage reads what it makes.
            costs = {
                count: in_fresh_process(cost, folder, stage, count, most, 1 if quick else 3)
                for count in reversed(counts)
            }
            figures += scaling_figures(stage, counts, [costs[count] for count in counts])
    images = ", ".join(map(str, counts))
    return Row("scaling_images", f"stages on {images} images of the demo, trainings of one epoch", figures)


if __name__ == "__main__":
    run(measure)
