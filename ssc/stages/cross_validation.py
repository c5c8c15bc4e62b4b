"""The rule `cross_validate`: how well the classifier does on photos new to it, where none are set aside for that."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ssc.data.index import Index, Row, read_index, write_index
from ssc.runtime.progress import log
from ssc.stages.classifier_scores import classifier_scores, labelled, write_scores
from ssc.training.classifier import train_classifier
from ssc.training.run import Run
from ssc.training.signals import heed_signals
from ssc.workflow.settings import Classifier


def cross_validate(
    *,
    val: str | Path,
    index: str | Path,
    superpixels: Sequence[str | Path],
    initial: str | Path | None,
    loss_weights: str | Path | None,
    settings: Classifier,
    output: str | Path,
    **options,
) -> None:
    """Train the classifier on either half of the training photos, and score each half by the one that has not seen it.

    Both classifiers' scores are sorted together. They learned from half of the photos, so that the run's own tells the
    classes no worse, as a rule.

    Args:
        val: table of the validation photos. Where some have labels, these serve, and nothing is trained.
        index: table of the training photos.
        superpixels, initial, loss_weights, settings: see `ssc.training.classifier.train_classifier`.
        output: JSON file, of the form of `ssc.stages.classifier_scores`; the trainings' own files lie beside it, those
            of the cache stay.
        options: of `ssc.training.run.Run`.

    Raises:
        InputError: see `train_classifier`.
    """
    table, output = read_index(index), Path(output)
    parts = halves(table.rows)
    if labelled(read_index(val).rows) or not all(parts):
        log.info("Nothing to do: val photos have labels, or the training photos are too few.")
        write_scores(output, [], np.zeros((0, table.num_classes)), table.classes)
        return
    runs = []
    for number, part in enumerate(parts, start=1):
        own = output.with_name(f"{output.stem}_{number}.safetensors")
        runs.append(Run(output=own, losses=own.with_suffix(".tsv"), **options))
        with TemporaryDirectory() as folder, heed_signals():
            write_index(Path(folder) / "index.tsv", Index(table.classes, part))
            train_classifier(
                runs[-1],
                index=Path(folder) / "index.tsv",
                superpixels=superpixels,
                initial=initial,
                loss_weights=loss_weights,
                settings=settings,
            )
    rows, scores = [], []
    for run, part in zip(runs, reversed(parts), strict=True):
        rows += (own := labelled(part))
        reading = {"device": str(run.device), "precision": run.precision, "threads": run.threads or 1}
        scores.append(classifier_scores(own, run.output, **reading))
    write_scores(output, rows, np.concatenate(scores), table.classes)
    for run in runs:
        for path in (run.output, run.losses):
            path.unlink()


def halves(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Photos in two halves that have the same labels equally often.

    Of photos with the same labels, those that follow each other by name come into the same half, since they may be of
    one scene.
    """
    first, second = [], []
    for _, group in groupby(sorted(rows, key=attrgetter("labels", "id")), key=attrgetter("labels")):
        own = list(group)
        middle = (len(own) + (len(first) <= len(second))) // 2
        first += own[:middle]
        second += own[middle:]
    return first, second
