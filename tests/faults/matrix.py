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
from tests.faults.harness import Campaign, Outcome, differences, results, traceback_in
from tests.faults.snakemake import Job, Place, jobs

REPORT = frozenset({"metrics", "comparison", "verdict", "figures", "panels", "manifest", "page"})
AFTER_PREDICTIONS = frozenset({"count_predictions", "evaluate_predictions"}) | REPORT
AFTER_SEGMENTATION = frozenset({"predictions"}) | AFTER_PREDICTIONS
AFTER_RANDOM_WALK = (
    frozenset({"count_pseudo_labels", "evaluate_pseudo_labels", "train_segmentation"}) | AFTER_SEGMENTATION
)
AFTER_IRN = frozenset({"random_walk"}) | AFTER_RANDOM_WALK
AFTER_IRN_LABELS = frozenset({"train_irn"}) | AFTER_IRN
AFTER_CAMS = frozenset({"count_seeds", "evaluate_seeds", "irn_labels"}) | AFTER_IRN_LABELS
AFTER_CLASSIFIER = frozenset({"cams", "evaluate_classifier"}) | AFTER_CAMS
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
        hits: those of them that the edit itself concerns, by their settings or their code; the others follow.
        computed: of the per-image stages that run, how many images are made anew, and of the trainings whether they
            train (1 or 0); None where everything that runs is computed.
    """

    name: str
    make: Callable[[Place], None]
    reruns: Set[str] = frozenset()
    hits: Set[str] = frozenset()
    computed: dict[str, int] | None = None


def _set(key: str, value: object) -> Callable[[Place], None]:
    return lambda place: place.change(key, value)


def _append(module: str, lines: str) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        with (place.project / "ssc" / module).open("a") as handle:
            handle.write(f"\n{lines}\n")

    return make


def _replace(module: str, old: str, new: str) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        file = place.project / "ssc" / module
        text = file.read_text()
        if old not in text:
            raise RuntimeError(f"{module} does not hold {old!r} any more; correct the matrix")
        file.write_text(text.replace(old, new, 1))

    return make


def _all(*makes: Callable[[Place], None]) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        for one in makes:
            one(place)

    return make


# What docs/extending.md tells to write for a network and for a term of the classifier's loss.
_NETWORK = _all(
    _append(
        "models/backbones.py",
        "def wide_backbone(name, *, output_stride, dilate):\n"
        "    return ResNetBackbone('tiny', output_stride=output_stride, dilate=dilate)",
    ),
    _replace(
        "models/networks.py",
        "NETWORKS: Registry[str, Network] = {",
        "NETWORKS: Registry[str, Network] = {\n    'wide': Network('ssc.models.backbones:wide_backbone', (4, 8, 16)),",
    ),
)
_LOSS = _all(
    _replace(
        "losses.py",
        "class Term(NamedTuple):",
        "def size_term(step, settings):\n    return step.features.mean() / step.processes\n\n\nclass Term(NamedTuple):",
    ),
    _replace(
        "losses.py",
        "TERMS: Registry[str, Term] = {",
        "TERMS: Registry[str, Term] = {\n    'size': Term('size', size_term),",
    ),
    _replace(
        "workflow/settings.py",
        "class Superpixels(Section):",
        "class Size(LossTerm):\n"
        '    """Size."""\n\n'
        "    weight: Weight = Field(0.1, description='Weight.')\n\n\n"
        "class Superpixels(Section):",
    ),
    _replace("workflow/settings.py", "    asm: ASM = ASM()\n", "    asm: ASM = ASM()\n    size: Size = Size()\n"),
)
_FORMULA = _replace(
    "losses.py",
    "target = normalise_cam(region_means(maps, regions[image]))",
    "target = 0.9 * normalise_cam(region_means(maps, regions[image]))",
)


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


def _mend(place: Place) -> None:
    """Another mask under the name of that of a validation photo."""
    file = place.folder / "photos" / "masks" / "val_0000.png"
    labels = np.asarray(Image.open(file)).copy()
    labels[:4] = 0
    Image.fromarray(labels).save(file)


def _correct(place: Place) -> None:
    """A mended pseudo-label of a training photo, in a folder that the configuration names."""
    file = place.folder / "mended" / "train_0002.png"
    file.parent.mkdir()
    Image.fromarray(np.ones((48, 48), np.uint8)).save(file)
    place.change("pseudo_labels.corrected", "mended")


def _table(change: Callable[[str], str]) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        table = place.folder / "photos" / "labels.csv"
        table.write_text("".join(change(line) for line in table.read_text().splitlines(keepends=True)))

    return make


def _relabel(line: str) -> str:
    name, labels, split = line.rstrip("\n").split(",")
    return f"{name},{'quado' if labels != 'quado' else 'orbi'},{split}\n" if name == "train_0001.png" else line


def _rename(place: Place) -> None:
    """Another name for a class, in the table and in the list of classes."""
    for file in (place.folder / "photos" / name for name in ("labels.csv", "classes.txt")):
        file.write_text(file.read_text().replace("quado", "quadrat"))


# In this order each edit leaves alone what those before it have changed, so that no wrong artefact is painted over.
EDITS = (
    Edit(
        "superpixels.max_regions",
        _set("superpixels.max_regions", 20),
        {"superpixels", "train_classifier"} | AFTER_CLASSIFIER,
        hits={"superpixels", "manifest"},
    ),
    Edit(
        "classifier.cdr.alpha",
        _set("classifier.cdr.alpha", 0.5),
        {"train_classifier"} | AFTER_CLASSIFIER,
        hits={"train_classifier", "manifest"},
    ),
    Edit(
        "a formula of ssc/losses.py",
        _FORMULA,
        {"train_classifier"} | AFTER_CLASSIFIER,
        hits={"train_classifier"},
    ),
    Edit(
        "classifier.cdr.range",
        _set("classifier.cdr.range", "tanh"),
        {"train_classifier"} | AFTER_CLASSIFIER,
        hits={"train_classifier", "manifest"},
    ),
    Edit("cams.stride", _set("cams.stride", 1), {"cams"} | AFTER_CAMS, hits={"cams", "manifest"}),
    Edit(
        "cams.drs",
        _set("cams.drs", False),
        AFTER_CLASSIFIER,
        hits={"cams", "evaluate_classifier", "manifest"},
    ),
    Edit(
        "irn_labels.foreground_threshold",
        _set("irn_labels.foreground_threshold", 0.35),
        {"irn_labels"} | AFTER_IRN_LABELS,
        hits={"irn_labels", "manifest"},
    ),
    Edit("irn.lr", _set("irn.lr", 0.05), AFTER_IRN_LABELS, hits={"train_irn", "manifest"}),
    Edit("pseudo_labels.beta", _set("pseudo_labels.beta", 8), AFTER_IRN, hits={"random_walk", "manifest"}),
    Edit("pseudo_labels.exp_times", _set("pseudo_labels.exp_times", 4), AFTER_IRN, hits={"random_walk", "manifest"}),
    Edit(
        "pseudo_labels.pad",
        _set("pseudo_labels.pad", 64),
        AFTER_IRN,
        hits={"random_walk", "panels", "manifest"},
    ),
    Edit(
        "a pseudo-label mended",
        _correct,
        AFTER_IRN,
        hits={"random_walk", "manifest"},
        computed={"random_walk": 1, "train_segmentation": 1},
    ),
    Edit(
        "segmentation.windows",
        _set("segmentation.windows", "resized"),
        {"train_segmentation"} | AFTER_SEGMENTATION,
        hits={"train_segmentation", "manifest"},
    ),
    Edit(
        "segmentation.lr",
        _set("segmentation.lr", 0.02),
        {"train_segmentation"} | AFTER_SEGMENTATION,
        hits={"train_segmentation", "manifest"},
    ),
    Edit(
        "prediction.fuse",
        _set("prediction.fuse", "max_logit"),
        AFTER_SEGMENTATION,
        hits={"predictions", "panels", "manifest"},
    ),
    Edit(
        "prediction.flip",
        _set("prediction.flip", False),
        AFTER_SEGMENTATION,
        hits={"predictions", "count_predictions", "evaluate_predictions", "panels", "manifest"},
    ),
    Edit(
        "seeds.threshold",
        _set("seeds.threshold", 0.3),
        {"count_seeds", "evaluate_seeds"} | REPORT - {"verdict", "panels"},
        hits={"count_seeds", "manifest"},
    ),
    Edit("report.panels", _set("report.panels", 1), {"panels", "page"}, hits={"panels"}),
    Edit(
        "code of ssc/report/curves.py",
        _append("report/curves.py", "_EDITED = True"),
        {"figures", "page"},
        hits={"figures"},
    ),
    Edit(
        "code of ssc/stages/irn_labels.py",
        _append("stages/irn_labels.py", "_EDITED = True"),
        {"irn_labels"} | AFTER_IRN_LABELS,
        hits={"irn_labels"},
    ),
    Edit("workers, a key that no result depends on", _set("workers", 1)),
    Edit(
        "masks.overlaps, on photos without instances",
        _set("masks.overlaps", "last_on_top"),
        {"manifest"},
        hits={"manifest"},
    ),
    Edit("a comment in ssc/archive.py", _append("archive.py", "# edited")),
    Edit(
        "an error text in ssc/runtime/errors.py",
        _replace("runtime/errors.py", "The memory is exhausted; set", "There is no memory left; set"),
    ),
    Edit(
        "an error text in ssc/training/loss_table.py",
        _replace("training/loss_table.py", "lower the learning rate", "take a lower learning rate"),
    ),
    Edit(
        "a log line in ssc/training/run.py",
        _replace("training/run.py", "%d photos, %d epochs of %d steps on %s.", "%d images, %d epochs, %d steps, %s."),
    ),
    Edit("the pause of the downloader", _replace("runtime/download.py", "_PAUSE = 2.0", "_PAUSE = 3.0")),
    Edit("a network added to the table", _NETWORK),
    Edit("a loss added that is off", _LOSS),
    Edit("all results touched", _touch),
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
        {"index"},
        computed={"masks": 1, "superpixels": 1},
    ),
    Edit(
        "a mask mended",
        _mend,
        {"index"} | AFTER_INDEX,
        {"index", "masks"},
        computed={**dict.fromkeys(PER_IMAGE, 0), **dict.fromkeys(TRAININGS, 0), "masks": 1},
    ),
    # Thirteen with the photo that was added.
    Edit("shards", _set("shards", 3), {"index"} | AFTER_INDEX, computed={"superpixels": 13, "warm_start": 0}),
    Edit(
        "a class renamed",
        _rename,
        {"index"} | AFTER_INDEX,
        computed={**dict.fromkeys(PER_IMAGE, 0), **dict.fromkeys(TRAININGS, 0)},
    ),
)
# Those that continuous integration runs; the others it plans.
QUICK = ("a new val photo",)


def reruns(campaign: Campaign) -> Outcome:
    """Make the edits one after the other on one finished run; what is planned and what runs must be right each time."""
    outcome = Outcome("reruns")
    place = campaign.finished("edited")
    for edit in EDITS:
        if not campaign.quick or edit.name in QUICK:
            outcome.count("edits")
            edit.make(place)
            for text in ran(place, edit):
                # What did not run that should have is stale, the rest was made again without need.
                (outcome.stale if re.search(r"\bnot\b", text) else outcome.lost).append(text)
            print(f"    {edit.name}", flush=True)
    fresh = campaign.fresh("fresh", place)
    status, text = fresh.run()
    if status:
        outcome.stale.append(f"a fresh run of what the edits came to failed: {text[-1500:]}")
    for phrase in differences(results(place.folder), results(fresh.folder)):
        if phrase.endswith(" is too many"):  # of the earlier number of shards, which nothing reads any more
            continue
        outcome.stale.append(f"{phrase}, compared with a fresh run of the same configuration, code and photos")
    return outcome


def ran(place: Place, edit: Edit) -> list[str]:
    """Run after an edit: a message for each thing that is not as the matrix says."""
    planned = place.planned()
    status, text = place.run()
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
        return sum("its result is restored from the cache" not in _log(place, job) for job in ran_jobs)
    return sum(_images(place, job) for job in ran_jobs)


def _log(place: Place, job: Job) -> str:
    return (place.folder / job.log).read_text()


def _images(place: Place, job: Job) -> int:
    with ZipFile(place.folder / job.outputs[0]) as archive:
        members = len(archive.namelist())
    there = re.search(r"(\d+) of \d+ members are there already", _log(place, job))
    return members - int(there[1]) if there else members
