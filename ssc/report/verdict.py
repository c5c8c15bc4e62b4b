"""The verdict on a run that needs no masks: a traffic light, its reasons, and what to do next, from figures alone."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from ssc.constants import FEW_PHOTOS

LIGHTS = ("green", "yellow", "red")
"""From good to bad."""

_WIDTH = 110  # of the lines on a terminal
_NAMED = 5  # classes that a sentence names


class Limits(NamedTuple):
    """Beyond which a figure is yellow and red; where red is the smaller one, small figures are bad."""

    yellow: float
    red: float

    def light(self, value: float) -> str:
        """The light of a figure."""
        sign = 1 if self.red > self.yellow else -1
        return LIGHTS[sum(sign * value > sign * limit for limit in self)]


# Share of the way from lucky guessing, which 95 % of guesses do not reach, to no fault. Below a tenth it is guessing
# still; below two fifths, photos with a class and photos without it are mixed in most of the order. A small network
# whose seeds had 42 mIoU on 528 photos of VOC reached 0.73 on val photos, and 0.98 on those that it was trained on.
LEARNED = Limits(yellow=0.4, red=0.1)
# A few empty maps are hard photos (that network had none). Beyond a quarter, the trainings that follow learn from maps
# that say nothing.
FLAT_CAMS = Limits(yellow=0.05, red=0.25)
# A close-up may fill its photo, so that one in ten may be right; where half are of one colour, there are no masks.
ONE_COLOUR = Limits(yellow=0.1, red=0.5)
# Small things are lost in any run; a fifth is more than those, a half means that labels and maps have parted.
LACKING = Limits(yellow=0.2, red=0.5)
FOREIGN = Limits(yellow=0.2, red=0.5)
# Of the classes: one that never appears is a fault of its own; where half of them do not, the run has no result.
NEVER = Limits(yellow=0, red=0.5)
# Mean share of a photo's area. Things leave a tenth of their photos free; 0.5 % is 30 x 30 pixels of 500 x 375.
LARGE, SMALL = 0.9, 0.005
# Mean IoU. At a half, what two maps share is as much as what they do not; at a quarter it is a third of that.
AGREEMENT = Limits(yellow=0.5, red=0.25)


class Reason(NamedTuple):
    """A reason of the verdict.

    Attributes:
        light: `green`, `yellow` or `red`.
        what: the figure that it judges, as a path in the figures, such as `cams.flat`.
        text: one sentence with the number.
        next: what to do about it; empty where it is green.
    """

    light: str
    what: str
    text: str
    next: str


def judge(figures: Mapping, *, pretrained: bool) -> list[Reason]:
    """The reasons of a run, worst first; those of a light in the order of the road, since what comes first is the cause
    of what follows.

    Args:
        figures: of `ssc.report.evidence.write_verdict`; what a run lacks is absent.
        pretrained: whether the classifier has started from pretrained weights, or stood ready.
    """
    parts = {
        "labels": _few(figures.get("pseudo_labels")),
        "classifier": _classifier(figures.get("classifier"), pretrained=pretrained),
        "CAMs": _cams(figures.get("cams"), pretrained=pretrained),
        "pseudo-labels": _maps(figures, "pseudo_labels"),
        "predictions": [*_maps(figures, "predictions"), *_agreement(figures.get("agreement"))],
    }
    found, cause = [], ""
    for part, reasons in parts.items():
        own = [reason._replace(next="") if reason.light == "green" else reason for reason in reasons]
        found += [each._replace(next=f"First put the {cause} right.") if cause and each.next else each for each in own]
        cause = cause or (part if any(reason.light == "red" for reason in own) else "")
    return sorted(found, key=lambda reason: -LIGHTS.index(reason.light))


def light_of(reasons: Iterable[Reason]) -> str:
    """The worst light of the reasons."""
    return max((reason.light for reason in reasons), key=LIGHTS.index)


def as_lines(verdict: Mapping) -> str:
    """A verdict for the terminal: the light, then what is red and yellow with what to do next; all that is green where
    nothing else is.

    Args:
        verdict: what `ssc.report.evidence.write_verdict` wrote.
    """
    told = [each for each in verdict["reasons"] if each["light"] != "green" or verdict["light"] == "green"]
    lines = [f"Verdict, from labels and results alone, without masks: {verdict['light'].upper()}"]
    for advice, reasons in groupby(told, key=itemgetter("next")):
        for reason in reasons:
            lines += _wrapped(f"{reason['light']:8}", reason["text"])
        lines += _wrapped(" " * 8 + "-> ", advice)
    return "\n".join(lines) + "\n"


def _wrapped(first: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)


def _few(found: Mapping | None) -> Iterator[Reason]:
    if not found or found["split"] != "train":
        return
    counts = {name: own["photos"] for name, own in found["classes"].items()}
    few = [f"{name} {count}" for name, count in counts.items() if count < FEW_PHOTOS]
    text = f"{len(few)} of {len(counts)} classes have fewer than {FEW_PHOTOS} training photos{_listed(few)}."
    yield Reason("yellow" if few else "green", "pseudo_labels.classes", text, "Add photos of these classes.")


def _classifier(found: Mapping | None, *, pretrained: bool) -> Iterator[Reason]:
    if not found or found["luck"] == 1:  # of two or three photos guessing gives the right order
        return
    light = LEARNED.light((found["map"] - found["luck"]) / (1 - found["luck"]))
    how = {"green": "", "yellow": " poorly", "red": " hardly better than guessing"}[light]
    photos = f"{found['photos']} {_PHOTOS[found['split']]}"
    own, chance, luck = (_percent(found[key]) for key in ("map", "chance", "luck"))
    text = (
        f"The classifier tells your classes{how}: its scores sort {photos} by class with a precision (mAP) of {own}, "
    )
    text += f"guessing with {chance}, or {luck} with luck"
    if found["cross_validated"]:
        text += "; each half of them was scored by a classifier that was trained on the other half."
    else:
        text += "; no val photo has labels, and on new photos it may do worse." if found["split"] == "train" else "."
    yield Reason(light, "classifier.map", text, _better_classifier(pretrained))


def _cams(found: Mapping | None, *, pretrained: bool) -> Iterator[Reason]:
    if not found:
        return
    text = f"{found['flat']} of {found['cams']} CAMs (maps of where the classifier sees a class) of "
    text += f"{found['photos']} training photos are empty or flat."
    yield Reason(FLAT_CAMS.light(found["flat"] / found["cams"]), "cams.flat", text, _better_classifier(pretrained))


def _better_classifier(pretrained: bool) -> str:
    if pretrained:
        return "Check the labels of a few photos; then add photos of each class, or raise classifier.epochs."
    return "Start from pretrained weights: preset: laptop, or weights: imagenet."


_PHOTOS = {"train": "training photos", "val": "val photos", "test": "test photos"}
_MAPS = {"pseudo_labels": "pseudo-label", "predictions": "prediction"}
_NEXT = {
    "pseudo_labels": {
        "one_colour": "Look at figures/panels.png; lower pseudo_labels.threshold if background is all, raise it if a "
        "class is.",
        "lacking": "Look at these photos (verdict.json names them): correct their labels, or lower "
        "pseudo_labels.threshold.",
        "foreign": "Check that the files of ready.pseudo_labels number the classes as classes.txt does.",
        "never": "Check the labels of these classes, and add photos of them.",
        "large": "If they do not fill their photos, raise pseudo_labels.threshold; add photos without them.",
        "small": "If they are larger in their photos, lower pseudo_labels.threshold.",
    },
    "predictions": {
        "one_colour": "Look at figures/predictions.png; raise segmentation.epochs.",
        "lacking": "Look at these photos: correct their labels, or raise segmentation.epochs.",
        "foreign": "Add the label where the class is in the photo; else add photos of the classes that are mixed up.",
        "never": "Add photos of these classes, or raise segmentation.epochs.",
        "large": "If they do not fill their photos, look at their pseudo-labels; add photos without them.",
        "small": "If they are larger in their photos, raise segmentation.epochs.",
    },
}


def _maps(figures: Mapping, what: str) -> Iterator[Reason]:
    """The reasons of label maps: `pseudo_labels` or `predictions`."""
    found = figures.get(what)
    if not found or not found["photos"]:
        return
    one, photos, total = _MAPS[what], _PHOTOS[found["split"]], found["photos"]

    def reason(name: str, light: str, text: str) -> Reason:
        return Reason(light, f"{what}.{name}", text, _NEXT[what][name])

    text = f"{found['one_colour']} of {total} {photos} have a {one} of one colour, {found['background']} of them "
    text += "background alone."
    yield reason("one_colour", ONE_COLOUR.light(found["one_colour"] / total), text)
    if found["lacking"] is None:  # no label says what the photos show
        return
    text = f"{found['lacking']} of {total} {photos} have a {one} of several colours that lacks a class of their labels."
    yield reason("lacking", LACKING.light(found["lacking"] / total), text)
    text = f"{found['foreign']} of {total} {photos} have a {one} that shows a class not among their labels."
    yield reason("foreign", FOREIGN.light(found["foreign"] / total), text)
    labelled = {name: own for name, own in found["classes"].items() if own["photos"]}
    never = [name for name, own in labelled.items() if not own["shown"]]
    text = f"The {one}s of the {photos} leave out {len(never)} of {len(labelled)} classes{_listed(never)}."
    yield reason("never", NEVER.light(len(never) / len(labelled)), text)
    areas = {name: own["area"] for name, own in labelled.items() if own["shown"]}
    for name, limit, classes in (
        ("large", f"more than {_percent(LARGE)}", [key for key, area in areas.items() if area > LARGE]),
        ("small", f"less than {_percent(SMALL)}", [key for key, area in areas.items() if area < SMALL]),
    ):
        shares = [f"{key} {_percent(areas[key])}" for key in classes]
        text = f"The {one}s give {limit} of the area of their {photos} to {len(classes)} of {len(labelled)} classes"
        yield reason(name, "yellow" if classes else "green", f"{text}{_listed(shares)}.")


def _agreement(found: Mapping | None) -> Iterator[Reason]:
    if not found:
        return
    text = (
        f"Pseudo-labels and predictions of {found['photos']} {_PHOTOS[found['split']]} agree in "
        f"{_percent(found['pixels'])} of the pixels, with a mean IoU over classes of {_percent(found['miou'])}."
    )
    advice = "Raise segmentation.epochs; if the predictions look better than the pseudo-labels, leave it."
    yield Reason(AGREEMENT.light(found["miou"]), "agreement.miou", text, advice)


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return f": {', '.join([*names[:_NAMED], *more])}" if names else ""


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
