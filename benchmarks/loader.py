"""The training loader alone, in images per second, against the step that it feeds.

    python -m benchmarks.loader

Samplers and steps are those of the classifier and of the segmentation network at the paper's settings. A loader keeps
up where it is faster than its step. With workers the two share the cores, so that its share of the time counts.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import classifier_step
from benchmarks.harness import Figure, Row, interleaved, run
from benchmarks.scenes import VOC_PHOTO, cells, drawn_photo
from ssc import archive
from ssc.data.index import Row as Photo
from ssc.data.transforms import resize_image, resize_labels
from ssc.losses import masked_cross_entropy
from ssc.models import DeepLabV2
from ssc.training import classifier, segmentation
from ssc.training.loader import Sample, TrainingLoader
from ssc.workflow.settings import Classifier, Segmentation

CROP = 512
BATCH = {"classifier": 6, "segmentation": 16}
STEP_BATCH = 2
WORKERS = (0, 2)
PHOTOS = {VOC_PHOTO: 48, (3000, 4000): 6}  # how many of each size


def write_photos(folder: Path, size: tuple[int, int], count: int) -> list[Photo]:
    """JPEGs of `size` = (height, width) with some grain; beside them superpixels, labels and confidence masks."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    partition = resize_labels(cells(*VOC_PHOTO, 64), size)
    grain = rng.integers(-6, 7, (*size, 1), np.int16)
    rows = []
    with (
        archive.write(folder / "superpixels.zip") as superpixels,
        archive.write(folder / "labels.zip") as labels,
        archive.write(folder / "confidence.zip") as confidence,
    ):
        for number in range(count):
            row = Photo(str(number), "train", str(folder / f"{number}.jpg"), "", (1 + number % 20,))
            pixels = resize_image(drawn_photo(*VOC_PHOTO, number % 8), size) + grain
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(row.image, quality=92)
            superpixels.add_labels(row.id, partition)
            labels.add_labels(row.id, partition % 21)
            confidence.add_labels(row.id, partition % 2)
            rows.append(row)
    return rows


def samplers(folder: Path) -> dict[str, Sample]:
    """What loads a sample, by training."""
    superpixels, labels, confidence = (
        archive.Archive(folder / f"{name}.zip") for name in ("superpixels", "labels", "confidence")
    )
    return {
        "classifier": classifier.Sampler(archive=superpixels, num_classes=20, resize_long=(320, 640), crop=CROP),
        "segmentation": segmentation.Sampler(labels, confidence, Segmentation(crop=CROP)),
    }


def images_per_second(rows: list[Photo], sample: Sample, *, batch_size: int, workers: int, epochs: int) -> float:
    """Speed of a loader over the median epoch after the first, in which the workers start."""
    loader = TrainingLoader(rows, sample, batch_size=batch_size, seed=0, workers=workers)

    def epoch() -> None:
        for _ in loader.epoch(0):
            pass

    epoch()
    seconds, _ = interleaved({"epoch": epoch}, rounds=epochs)
    return len(loader) * loader.batch_size / seconds["epoch"]


def steps(*, quick: bool) -> dict[str, Callable[[], object]]:
    """A training step on `STEP_BATCH` images that are there already, by training."""
    crop = 64 if quick else CROP
    settings = Classifier(crop=crop, backbone="tiny" if quick else "resnet50")
    _, classifier_step_, _ = classifier_step.build("fast", "fp32", settings, STEP_BATCH, None)
    network = DeepLabV2(21, "tiny" if quick else "resnet101", output_stride=8).to(memory_format=torch.channels_last)
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    image = torch.randn(STEP_BATCH, 3, crop, crop).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, 21, (STEP_BATCH, crop, crop))

    def segmentation_step() -> float:
        logits = torch.nn.functional.interpolate(network(image), size=(crop, crop), mode="bilinear")
        loss = masked_cross_entropy(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return {"classifier": classifier_step_, "segmentation": segmentation_step}


def measure(*, quick: bool) -> Row:
    """Images per second of the training loader alone, and of the steps that it feeds."""
    own_steps = steps(quick=quick)
    for step in own_steps.values():
        step()
    seconds, _ = interleaved(own_steps, rounds=1 if quick else 2)
    del own_steps
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for size, count in PHOTOS.items():
            height, width = size
            of_size = Path(folder) / f"{width}x{height}"
            rows = write_photos(of_size, size, 2 if quick else count)
            for training, sample in samplers(of_size).items():
                speeds = {
                    f"{workers} workers": images_per_second(
                        rows, sample, batch_size=BATCH[training], workers=workers, epochs=1 if quick else 3
                    )
                    for workers in WORKERS
                }
                speeds["step"] = STEP_BATCH / seconds[training]
                what = f"{training}, photos of {width} x {height}: loader without workers, times the step's speed"
                ratio = speeds["0 workers"] / speeds["step"]
                figures.append(Figure(what, ratio, parts=speeds, parts_unit="images/s"))
    return Row(
        "loader",
        f"training loader alone, window {CROP}, against a step (classifier with ResNet-50 and VGG-19, DeepLabV2 with "
        f"ResNet-101 at stride 8; batch {STEP_BATCH}, fp32, on the CPU)",
        figures,
    )


if __name__ == "__main__":
    run(measure)
