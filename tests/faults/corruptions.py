"""Damage of artefacts between the rule that wrote them and the rule that reads them.

One working folder walks along the workflow: up to a rule, damage what it has written, run the rule that reads it, which
must refuse it by name; delete it, as the message says, and go on. What killed jobs leave behind for the next run is
damaged too, and must be found out without help.
"""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.harness import Campaign, Outcome, differences, end, not_whole, results, traceback_in, wait_until
from tests.faults.snakemake import Place

Damage = Callable[[Path], None]


@dataclass(frozen=True)
class Artefact:
    """A file between two rules.

    Attributes:
        kind: what it is.
        path: below the data set's results; a pattern where the name holds a digest.
        maker: the rule that writes it.
        reader: a rule that reads it; none for what only a run of the maker looks at, which does without it.
    """

    kind: str
    path: str
    maker: str
    reader: str = ""


HEX = "?" * 16  # a digest in the name of a hidden file, see docs/cache.md

# In the order of the workflow, so that no reader has run before the damage.
ARTEFACTS = (
    Artefact("index table", "index/train/1-of-2.tsv", "index", "superpixels"),
    Artefact("index table", "index/train.tsv", "index", "warm_start"),
    Artefact("class list", "classes.txt", "index", "masks"),
    Artefact("superpixels", "superpixels/2-of-2.zip", "superpixels", "train_classifier"),
    Artefact("weights", "warm_start/*.safetensors", "warm_start", "train_classifier"),
    Artefact("checkpoint", "ssc/*classifier.safetensors.checkpoint", "train_classifier"),
    Artefact("weights", "ssc/classifier.safetensors", "train_classifier", "cams"),
    Artefact("cached weights", f"ssc/.classifier.safetensors.{HEX}.{HEX}.cache", "train_classifier"),
    Artefact("CAMs", "ssc/cams/1-of-2.zip", "cams", "irn_labels"),
    Artefact("masks", "masks/train/1-of-2.zip", "masks", "count_seeds"),
    Artefact("counts", "ssc/seeds/1-of-2.json", "count_seeds", "evaluate_seeds"),
    Artefact("archive in progress", f"ssc/irn_labels/.1-of-2.zip.{HEX}.cache", "irn_labels"),
    Artefact("IRN labels", "ssc/irn_labels/2-of-2.zip", "irn_labels", "train_irn"),
    Artefact("cached archive", f"ssc/irn_labels/.2-of-2.zip.{HEX}.{HEX}.cache", "irn_labels"),
    Artefact("weights", "ssc/irn.safetensors", "train_irn", "random_walk"),
    Artefact("pseudo-labels", "ssc/pseudo_labels/1-of-2.zip", "random_walk", "count_pseudo_labels"),
    Artefact("counts", "ssc/pseudo_label_counts/2-of-2.json", "count_pseudo_labels", "evaluate_pseudo_labels"),
    Artefact("confidence masks", "ssc/confidence/1-of-2.zip", "random_walk", "train_segmentation"),
    Artefact("checkpoint", "ssc/*segmentation.safetensors.checkpoint", "train_segmentation"),
    Artefact("weights", "ssc/segmentation.safetensors", "train_segmentation", "predictions"),
    Artefact("predictions", "ssc/predictions/val/1-of-2.zip", "predictions", "count_predictions"),
    Artefact("predictions", "ssc/prediction_steps/val/1-of-2.zip", "predictions", "count_predictions"),
    Artefact("counts", "ssc/prediction_counts/val/1-of-2.json", "count_predictions", "evaluate_predictions"),
    Artefact("figures", "ssc/seeds.json", "evaluate_seeds", "metrics"),
)
QUICK = ("classes.txt", "ssc/*classifier.safetensors.checkpoint", "ssc/cams/1-of-2.zip")


def corruptions(campaign: Campaign) -> Outcome:
    """Damage each artefact in one of three ways, in turn; a few in a quick campaign."""
    outcome = Outcome("corruptions")
    repeat = f"python -m tests.faults corruptions --seed {campaign.seed}"
    random = campaign.random("corruptions")
    place = campaign.place("corrupted")
    # Each begins with the flipped bit, the hardest to find, and has its own turns.
    between, left_behind = ways(random), ways(random)
    for artefact in ARTEFACTS:
        if campaign.quick and artefact.path not in QUICK:
            continue
        way, damage = next(between if artefact.reader else left_behind)
        what = f"{way} in {artefact.path} ({repeat})"
        if artefact.reader:
            _between(place, outcome, artefact, damage, what)
        else:
            _left_behind(campaign, place, outcome, artefact, damage, what)
        # Now, since a later fault may have a wrong result made anew.
        outcome.stale += [f"{what}: {phrase}" for phrase in not_whole(place.folder, campaign.expected)]
        outcome.count(artefact.kind)
        print(f"    {what}", flush=True)
    if not campaign.quick:
        place.succeed()
        left = differences(results(place.folder), campaign.expected)
        outcome.stale += [f"{phrase} at the end ({repeat})" for phrase in left]
    return outcome


def _between(place: Place, outcome: Outcome, artefact: Artefact, damage: Damage, what: str) -> None:
    """Damage what the maker has written: the reader must name it, and all goes on when it is deleted."""
    place.succeed("--until", artefact.maker)
    file = _file(place, artefact)
    damage(file)
    status, text = place.run("--until", artefact.reader)
    path = str(file.relative_to(place.folder))
    told = [line for line in text.splitlines() if path in line and ("Error: " in line or "is damaged" in line)]
    if status == 0:
        outcome.stale.append(f"{what}: {artefact.reader} took it for whole")
    elif not told or traceback_in(text):
        outcome.lost.append(f"{what}: no message names it: {text[-1500:]}")
    file.unlink(missing_ok=True)


def _left_behind(
    campaign: Campaign, place: Place, outcome: Outcome, artefact: Artefact, damage: Damage, what: str
) -> None:
    """Damage a hidden file that speeds up the maker's next run: the maker must do without it, or with what is whole."""
    if "cached" in artefact.kind:
        place.succeed("--until", artefact.maker)
        file = _file(place, artefact)
        content = file.read_bytes()
        file.unlink()  # the result is the same file by another name
        file.write_bytes(content)
        _result_of(file).unlink()
        damage(file)
    else:
        output = campaign.folder / "call.log"
        folder, pattern = (place.folder / "results" / "tiny" / artefact.path).parent, Path(artefact.path).name
        call = place.start(output, "--until", artefact.maker)
        if not wait_until(lambda: _written(folder, pattern), call, poll=0.002):
            outcome.lost.append(f"{what}: there was none: {output.read_text()[-1500:]}")
            return
        os.killpg(call.pid, signal.SIGKILL)
        end(call)
        place.unlock()
        for file in folder.glob(pattern):
            damage(file)
    status, text = place.run("--until", artefact.maker)
    if status or traceback_in(text):
        outcome.lost.append(f"{what}: {artefact.maker} did not do without it: {text[-1500:]}")


def _written(folder: Path, pattern: str) -> bool:
    """Whether there is such a file that is not empty."""
    try:
        return any(file.stat().st_size for file in folder.glob(pattern))
    except FileNotFoundError:  # it has just been renamed
        return False


def _file(place: Place, artefact: Artefact) -> Path:
    (file,) = (place.folder / "results" / "tiny").glob(artefact.path)
    return file


def _result_of(cached: Path) -> Path:
    """The result of a hidden file `.<name>.<fingerprint>.<digest>.cache`."""
    return cached.with_name(cached.name[1:].rsplit(".", 3)[0])


def ways(random: Random) -> Iterator[tuple[str, Damage]]:
    """Without end: a name and a function that damages a file, whose time stays as it is every other time."""

    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        file.write_bytes(content)

    def cut(file: Path) -> None:
        os.truncate(file, random.randrange(1, file.stat().st_size))

    def empty(file: Path) -> None:
        os.truncate(file, 0)

    while True:
        for name, damage in (("a flipped bit", flip), ("truncation", cut), ("emptying", empty)):
            yield name, _unnoticed(damage) if random.random() < 0.5 else damage


def _unnoticed(damage: Damage) -> Damage:
    """The same damage, as a failing disk does it: the file's time stays."""

    def done(file: Path) -> None:
        before = file.stat()
        damage(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    return done
