"""The rerun matrix: edits of configuration, code and data, each with the exact rules that run again.

What Snakemake runs is one thing, what is computed another. A new photo changes the index; Snakemake runs all that
follows from it, since it decides before the index is made. Of these jobs each computes only what is not there already:
per-image stages the photos that the edit touches, trainings nothing where their own photos and files are the same.
"""

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from zipfile import ZipFile

import numpy as np
from PIL import Image

from ssc.data.demo import scene
from ssc.data.demo.creatures import CLASS_NAMES
from tests.faults.harness import Campaign, Job, Outcome, Place, differences, jobs, results, traceback_in

REPORT = frozenset({"metrics", "comparison", "figures", "panels", "manifest"})
AFTER_PREDICTIONS = frozenset({"count_predictions", "evaluate_predictions"}) | REPORT
AFTER_SEGMENTATION = frozenset({"predictions"}) | AFTER_PREDICTIONS
AFTER_RANDOM_WALK = (
    frozenset({"count_pseudo_labels", "evaluate_pseudo_labels", "train_segmentation"}) | AFTER_SEGMENTATION
)
AFTER_IRN = frozenset({"random_walk"}) | AFTER_RANDOM_WALK
AFTER_IRN_LABELS = frozenset({"train_irn"}) | AFTER_IRN
AFTER_CAMS = frozenset({"count_seeds", "evaluate_seeds", "irn_labels"}) | AFTER_IRN_LABELS
AFTER_CLASSIFIER = frozenset({"cams"}) | AFTER_CAMS
AFTER_INDEX = frozenset({"masks", "superpixels", "warm_start", "train_classifier"}) | AFTER_CLASSIFIER

PER_IMAGE = ("masks", "superpixels", "cams", "irn_labels", "random_walk", "predictions")
TRAININGS = ("warm_start", "train_classifier", "train_irn", "train_segmentation")


@dataclass(frozen=True)
class Edit:
    """One edit of a finished run.

    Attributes:
        name: what a user would say that they have done.
        make: does it, in the working folder or the project of a place.
        reruns: rules that run again.
        computed: of the per-image stages that run, how many images are made anew, and of the trainings whether they
            train (1 or 0); None where everything that runs is computed.
        forced: rules to name with `-R`, since Snakemake does not look at the photos.
    """

    name: str
    make: Callable[[Place], None]
    reruns: Set[str]
    computed: dict[str, int] | None = None
    forced: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """What the call of Snakemake needs."""
        return ["-R", *self.forced] if self.forced else []


def _set(key: str, value: object) -> Callable[[Place], None]:
    return lambda place: place.change(key, value)


def _code(module: str, line: str) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        with (place.project / "ssc" / module).open("a") as handle:
            handle.write(f"\n{line}\n")

    return make


def _touch(place: Place) -> None:
    for file in (place.folder / "results").rglob("*"):
        if file.is_file():
            file.touch()


def _add(split: str, number: int) -> Callable[[Place], None]:
    """A new scene, with its mask and its line in the table."""

    def make(place: Place) -> None:
        image, mask = scene(2 * number + (split == "val"), size=48)
        name = f"{split}_{number:04d}.png"
        photos = place.folder / "photos"
        Image.fromarray(image).save(photos / "images" / name)
        Image.fromarray(mask).save(photos / "masks" / name)
        labels = ";".join(CLASS_NAMES[label - 1] for label in np.unique(mask) if label)
        with (photos / "labels.csv").open("a") as table:
            table.write(f"{name},{labels},{split}\n")

    return make


def _repaint(place: Place) -> None:
    """Another photo under the name of a training photo."""
    image, _ = scene(1000, size=48)
    Image.fromarray(image).save(place.folder / "photos" / "images" / "train_0000.png")


def _table(change: Callable[[str], str]) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        table = place.folder / "photos" / "labels.csv"
        table.write_text("".join(change(line) for line in table.read_text().splitlines(keepends=True)))

    return make


def _relabel(line: str) -> str:
    name, labels, split = line.rstrip("\n").split(",")
    return f"{name},{'quado' if labels != 'quado' else 'orbi'},{split}\n" if name == "train_0001.png" else line


# In this order each edit leaves alone what those before it have changed, so that no wrong artefact is painted over.
EDITS = (
    Edit(
        "superpixels.max_regions",
        _set("superpixels.max_regions", 20),
        {"superpixels", "train_classifier"} | AFTER_CLASSIFIER,
    ),
    Edit("classifier.cdr.alpha", _set("classifier.cdr.alpha", 0.5), {"train_classifier"} | AFTER_CLASSIFIER),
    Edit("cams.drs", _set("cams.drs", False), AFTER_CLASSIFIER),
    Edit("irn_labels.foreground", _set("irn_labels.foreground", 0.35), {"irn_labels"} | AFTER_IRN_LABELS),
    Edit("irn.lr", _set("irn.lr", 0.05), AFTER_IRN_LABELS),
    Edit("pseudo_labels.beta", _set("pseudo_labels.beta", 8), AFTER_IRN),
    Edit("pseudo_labels.exp_times", _set("pseudo_labels.exp_times", 4), AFTER_IRN),
    Edit("segmentation.lr", _set("segmentation.lr", 0.02), {"train_segmentation"} | AFTER_SEGMENTATION),
    Edit("prediction.flip", _set("prediction.flip", False), AFTER_SEGMENTATION),
    Edit("seeds.threshold", _set("seeds.threshold", 0.3), {"evaluate_seeds"} | REPORT - {"panels"}),
    Edit("report.panels", _set("report.panels", 1), frozenset({"panels"})),
    Edit("workers, a key that no result depends on", _set("workers", 1), frozenset()),
    Edit("code of ssc/irn_labels.py", _code("irn_labels.py", "_EDITED = True"), {"irn_labels"} | AFTER_IRN_LABELS),
    Edit("code of ssc/figures.py", _code("figures.py", "_EDITED = True"), frozenset({"figures"})),
    Edit("a comment in ssc/archive.py", _code("archive.py", "# edited"), frozenset()),
    Edit("all results touched", _touch, frozenset()),
    Edit(
        "a new val photo",
        _add("val", 6),
        {"index"} | AFTER_INDEX,
        computed={**dict.fromkeys(PER_IMAGE, 0), **dict.fromkeys(TRAININGS, 0), "masks": 1, "predictions": 1},
    ),
    Edit(
        "a val photo taken away",
        _table(lambda line: "" if line.startswith("val_0001") else line),
        {"index"} | AFTER_INDEX,
        computed={**dict.fromkeys(PER_IMAGE, 0), **dict.fromkeys(TRAININGS, 0)},
    ),
    Edit("a new training photo", _add("train", 12), {"index"} | AFTER_INDEX, computed={"masks": 1, "superpixels": 1}),
    Edit(
        "a training photo relabelled",
        _table(_relabel),
        {"index"} | AFTER_INDEX,
        computed={"masks": 0, "superpixels": 1},
    ),
    Edit(
        "another photo under the same name",
        _repaint,
        {"index"} | AFTER_INDEX,
        computed={"masks": 1, "superpixels": 1},
        forced=("index",),
    ),
    # Thirteen with the photo that was added.
    Edit("shards", _set("shards", 3), {"index"} | AFTER_INDEX, computed={"superpixels": 13, "warm_start": 0}),
)
# Those that continuous integration runs; the others it plans.
QUICK = ("seeds.threshold", "report.panels", "a new val photo")


def reruns(campaign: Campaign) -> Outcome:
    """Make the edits one after the other on one finished run; what is planned and what runs must be right each time."""
    outcome = Outcome("reruns")
    place = campaign.finished("edited")
    for edit in EDITS:
        if not campaign.quick or edit.name in QUICK:
            outcome.count("edits")
            edit.make(place)
            for sentence in ran(place, edit):
                # What did not run that should have is stale, the rest was made again without need.
                (outcome.stale if re.search(r"\bnot\b", sentence) else outcome.lost).append(sentence)
            print(f"    {edit.name}", flush=True)
    fresh = campaign.fresh("fresh", place)
    fresh.succeed()
    for phrase in differences(results(place.folder), results(fresh.folder)):
        if phrase.endswith(" is too many"):  # of the earlier number of shards, which nothing reads any more
            continue
        outcome.stale.append(f"{phrase}, compared with a fresh run of the same configuration, code and photos")
    return outcome


def ran(place: Place, edit: Edit) -> list[str]:
    """Run after an edit: a sentence for each thing that is not as the matrix says."""
    planned = place.planned(*edit.arguments)
    status, text = place.run(*edit.arguments)
    made = {job.rule for job in jobs(text)}
    wrong = [f"{edit.name}: {rule} was planned and not run" for rule in sorted(planned - made)]
    wrong += [f"{edit.name}: {rule} should run and did not" for rule in sorted(edit.reruns - made)]
    wrong += [f"{edit.name}: {rule} was run without need" for rule in sorted(made - edit.reruns)]
    if status or traceback_in(text):
        wrong.append(f"{edit.name}: the run failed: {text[-1500:]}")
    for rule, number in (edit.computed or {}).items():
        found = computed(place, text, rule)
        if found != number:
            wrong.append(
                f"{edit.name}: {rule} made {found} anew, {'not ' if found < number else 'instead of '}{number}"
            )
    return wrong


def computed(place: Place, text: str, rule: str) -> int:
    """What the jobs of a rule made anew, by their logs: images of a per-image stage, or trainings."""
    ran_jobs = [job for job in jobs(text) if job.rule == rule]
    if rule in TRAININGS:
        return sum("its result is kept" not in _log(place, job) for job in ran_jobs)
    return sum(_images(place, job) for job in ran_jobs)


def _log(place: Place, job: Job) -> str:
    return (place.folder / job.log).read_text()


def _images(place: Place, job: Job) -> int:
    with ZipFile(place.folder / job.outputs[0]) as archive:
        members = len(archive.namelist())
    there = re.search(r"(\d+) of \d+ members are there already", _log(place, job))
    return members - int(there[1]) if there else members
