"""The rule `cross_validate`: how well the classifier does on photos new to it, where none are set aside for that."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ssc.data.index import Index, Row, read_index, write_index
from ssc.runtime.files import remove_temporaries
from ssc.runtime.progress import log
from ssc.stages.classifier_scores import classifier_scores, labelled, truth_of, write_precision
from ssc.training.checkpoint import checkpoint_path
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
    readers: int = 1,
    **options,
) -> None:
    """Train a classifier on each half of the training photos, and score each half by the one that has not seen it.

    Both classifiers' scores are sorted together. They learned from half of the photos, so that the run's own tells the
    classes no worse, as a rule. Classes that one half lacks are left out: the classifier of that half knows nothing of
    them.

    Args:
        val: table of the validation photos. Where some have labels, these serve, and nothing is trained.
        index: table of the training photos.
        superpixels, initial, loss_weights, settings: see `ssc.training.classifier.train_classifier`.
        output: JSON file, of the form of `ssc.stages.classifier_scores`. Of the trainings' own files beside it, those
            of the cache stay.
        readers: photos read at the same time for their scores.
        options: of `ssc.training.run.Run`; each training is of one process.

    Raises:
        InputError: see `train_classifier`.
    """
    table, output = read_index(index), Path(output)
    parts = halves(table.rows)
    told = np.logical_and(*(truth_of(part, table.num_classes).any(axis=0) for part in parts))
    reason = "val photos have labels" if labelled(read_index(val).rows) else ""
    reason = reason or ("" if told.any() else "no class has photos in both halves")
    files = [output.with_name(f"{output.stem}_{number}.safetensors") for number in (1, 2)]
    for own in files:  # of a job that was killed
        remove_temporaries(own)
    if reason:
        log.info("Nothing to do: %s.", reason)
        _remove(files)
        write_precision(output, [], np.zeros((0, len(told))), np.zeros((0, len(told)), bool), table.classes)
        return
    rows, scores, runs = [], [], []
    for later, own, part in zip((1.0, 0.0), files, parts, strict=True):
        runs.append(Run(output=own, losses=_losses(own), rest=(later, 0.0), **options))
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
    for run, part in zip(runs, reversed(parts), strict=True):
        rows += (own := labelled(part))
        where = {"device": str(run.device), "precision": run.precision}
        scores.append(classifier_scores(own, run.output, drs=True, threads=readers, **where))  # as it was trained
    truth, classes = truth_of(rows, len(told))[:, told], [*np.array(table.classes)[told]]
    write_precision(output, rows, np.concatenate(scores)[:, told], truth, classes)
    _remove(files)


def _losses(weights: Path) -> Path:
    return weights.with_name(f"{weights.stem}_losses.tsv")


def _remove(files: Iterable[Path]) -> None:
    for own in files:
        for path in (own, _losses(own)):
            path.unlink(missing_ok=True)
            checkpoint_path(path).unlink(missing_ok=True)


def halves(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Photos in two halves that show each class about equally often.

    Of photos with the same labels, those that follow each other by name come into the same half, since they may be of
    one scene.
    """
    rows = list(rows)
    photos = Counter(label for row in rows for label in row.labels)

    def rarest(labels: tuple[int, ...]) -> list[tuple[int, int]]:
        """The labels, as they are to be balanced: with the number of their photos before each."""
        return sorted((photos[label], label) for label in labels)

    found, counts = ([], []), (Counter(), Counter())
    for order, group in groupby(sorted(rows, key=lambda row: (rarest(row.labels), row.id)), lambda r: rarest(r.labels)):
        own = list(group)
        # Which half gets the photo more of an odd number: that with fewer of the rarest class, then of the next.
        first, second = ([counts[half][label] for _, label in order] + [len(found[half])] for half in (0, 1))
        middle = (len(own) + (first <= second)) // 2
        for half, part in enumerate((own[:middle], own[middle:])):
            found[half].extend(part)
            counts[half].update(label for row in part for label in row.labels)
    return found
