"""How long the stages of a run take beside each other: right within a factor of two.

What networks do is counted in multiplications and additions, whose speed a training measures with its first steps: with
one kind of network it is the same in training and inference, up to that factor. All else is counted in seconds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ssc.data.index import Index, read_index
from ssc.runtime.parallel import processors
from ssc.workflow.config import resolve
from ssc.workflow.disk import photo_sizes
from ssc.workflow.experiments import made_stages
from ssc.workflow.network_sizes import NetworkSize, network_sizes
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import STAGES

# Seconds of a processor (AMD EPYC) by pixel of a photo.
_SUPERPIXELS = 0.5e-6
_CRF, _CRF_LABEL = 0.7e-6, 0.37e-6  # by label and map, too
_WALK = 1e-6  # at radius 5

_START = 4  # seconds of a processor until a job has begun
_REPORT_JOBS = 7


class Work(NamedTuple):
    """The work of a stage.

    Attributes:
        flops: multiplications and additions of its networks.
        seconds: of a processor, for all else.
    """

    flops: float
    seconds: float = 0.0


class Rule(Protocol):
    """What is used of the object `snakemake` of a training's script."""

    input: object  # with the path `index`, of the training photos
    wildcards: object  # with `experiment`, but for a training that experiments share
    config: dict


def rest_of_run(rule: Rule, stage: str) -> tuple[float, float]:
    """What follows a training in its run: work as a multiple of the training's own, and seconds.

    Args:
        rule: the object `snakemake` of the training's script.
        stage: that it is.
    """
    settings = resolve(rule.config, getattr(rule.wildcards, "experiment", rule.config["experiment"]))
    index = read_index(rule.input.index)
    for split in sorted({settings.prediction.split, "val"} - {"train"}):
        # In object storage, what a rule reads is there alone.
        if (table := Path(rule.input.index).with_name(f"{split}.tsv")).exists():
            index = Index(index.classes, [*index.rows, *read_index(table).rows])
    networks = network_sizes(settings, index.num_classes)
    works = stage_works(index, settings, networks, pixels=photo_sizes(index, settings).mean)
    later = set(list(STAGES)[list(STAGES).index(stage) + 1 :]).intersection(made_stages(settings))
    jobs = sum(settings.shards if rule.sharded else 1 for name in later for rule in STAGES[name].rules)
    flops = sum(works[name].flops for name in later & works.keys())
    seconds = sum(works[name].seconds for name in later & works.keys()) + _START * (jobs + _REPORT_JOBS)
    return flops / works[stage].flops, seconds / processors()


def stage_works(
    index: Index, settings: Settings, networks: Mapping[str, NetworkSize], *, pixels: float
) -> dict[str, Work]:
    """The work of the stages that take more than moments.

    Args:
        index: the images.
        settings: of the experiment.
        networks: their sizes, by training.
        pixels: mean height times width of the photos.
    """
    photos, predicted = len(index.split("train")), len(index.split(settings.prediction.split))
    present = sum(len(row.labels) for row in index.split("train")) / photos
    start, walk, prediction = settings.warm_start, settings.pseudo_labels, settings.prediction

    def training(stage: str) -> float:
        return photos * getattr(settings, stage).epochs * networks[stage].training_flops

    def inference(stage: str, scales: Sequence[float], *, mirrored: bool = True, area: float = pixels) -> float:
        views = (1 + mirrored) * sum(scale**2 for scale in scales)
        return views * area * networks[stage].flops_per_pixel

    def refinement(labels: float) -> float:
        return (_CRF + _CRF_LABEL * labels) * pixels

    square = prediction.square**2 if prediction.square else pixels
    network = inference("segmentation", prediction.scales, mirrored=prediction.flip, area=square)
    pair = 2 if settings.segmentation.training == "cotraining" else 1
    crf = refinement(index.num_classes + 1) if prediction.crf.enabled else 0
    labels = {
        "irn": Work(
            photos * inference("irn", [walk.scale]), photos * _WALK * (walk.scale * walk.radius / 5) ** 2 * pixels
        ),
        "crf": Work(0, photos * refinement(present + 1)),
        "none": Work(0),
    }
    started = 3 * settings.classifier.crop**2 * networks["classifier"].flops_per_pixel
    return {
        "superpixels": Work(0, photos * _SUPERPIXELS * pixels),
        "warm_start": Work(photos * start.epochs * started),
        "classifier": Work(training("classifier")),
        "cross_validation": Work(0 if any(row.labels for row in index.split("val")) else training("classifier")),
        "cams": Work(photos * inference("classifier", settings.cams.scales)),
        "irn_labels": Work(0, photos * refinement(2 * (present + 1))),
        "irn": Work(training("irn")),
        "pseudo_labels": labels[walk.method],
        "segmentation": Work(training("segmentation")),
        "predictions": Work(predicted * pair * network, predicted * crf),
    }
