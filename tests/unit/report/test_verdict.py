"""The judgement, from figures alone."""

import pytest

from ssc.report.verdict import AGREEMENT, LEARNED, NEVER, ONE_COLOUR, as_lines, judge, light_of

CLASSES = {"dog": {"photos": 16, "shown": 16, "area": 0.3}, "cat": {"photos": 10, "shown": 10, "area": 0.2}}
GOOD = {
    "classifier": {
        "split": "val", "photos": 20, "cross_validated": False, "map": 0.9, "chance": 0.3, "luck": 0.4,
        "classes": ["dog", "cat"],
    },
    "cams": {"split": "train", "photos": 80, "cams": 98, "flat": 2, "classes": {}},
    "pseudo_labels": {
        "split": "train", "photos": 80, "one_colour": 2, "background": 1, "lacking": 3, "foreign": 0,
        "classes": CLASSES,
    },
    "predictions": {
        "split": "val", "photos": 20, "one_colour": 1, "background": 1, "lacking": 2, "foreign": 3, "classes": CLASSES,
    },
    "agreement": {"split": "train", "photos": 80, "miou": 0.7, "pixels": 0.9},
}  # fmt: skip


def changed(part, **figures):
    return {**GOOD, part: {**GOOD[part], **figures}}


def of_class(part, **figures):
    return changed(part, classes={**CLASSES, "dog": {**CLASSES["dog"], **figures}})


def bad(figures, *, pretrained=True):
    return [reason for reason in judge(figures, pretrained=pretrained) if reason.light != "green"]


def test_a_good_run_is_green_and_says_by_what():
    reasons = judge(GOOD, pretrained=True)
    assert light_of(reasons) == "green"
    assert {reason.light for reason in reasons} == {"green"} and {reason.next for reason in reasons} == {""}
    assert [reason.what for reason in reasons[:3]] == ["pseudo_labels.classes", "classifier.map", "cams.flat"]
    assert len({reason.what for reason in reasons}) == len(reasons) == 1 + 2 + 6 + 6 + 1
    assert all(reason.text.endswith(".") and any(sign.isdigit() for sign in reason.text) for reason in reasons)


@pytest.mark.parametrize(
    ("figures", "light", "what", "text"),
    [
        (of_class("pseudo_labels", photos=9), "yellow", "pseudo_labels.classes", "1 of 2 classes have fewer than 10"),
        (changed("classifier", map=0.45), "red", "classifier.map", "hardly better than guessing: its scores sort"),
        (changed("classifier", map=0.6), "yellow", "classifier.map", "of 60%, guessing with 30%, or 40% with luck."),
        (changed("classifier", split="train", map=0.6), "yellow", "classifier.map", "with luck; no val photo has"),
        (
            changed("classifier", split="train", cross_validated=True, map=0.45), "red", "classifier.map",
            "or 40% with luck; each half of them was scored by a classifier that was trained on the other half.",
        ),
        (changed("cams", flat=49), "red", "cams.flat", "49 of 98 CAMs "),
        (changed("cams", flat=6), "yellow", "cams.flat", "6 of 98 CAMs "),
        (
            changed("pseudo_labels", one_colour=80, background=70), "red", "pseudo_labels.one_colour",
            "80 of 80 training photos have a pseudo-label of one colour, 70 of them background alone.",
        ),
        (changed("predictions", one_colour=3), "yellow", "predictions.one_colour", "3 of 20 val photos have a"),
        (changed("pseudo_labels", lacking=41), "red", "pseudo_labels.lacking", "41 of 80 training photos"),
        (changed("predictions", lacking=5), "yellow", "predictions.lacking", "lacks a class of their labels"),
        (changed("pseudo_labels", foreign=60), "red", "pseudo_labels.foreign", "a class not among their labels"),
        (changed("predictions", foreign=5), "yellow", "predictions.foreign", "5 of 20 val photos"),
        (of_class("pseudo_labels", shown=0), "yellow", "pseudo_labels.never", "leave out 1 of 2 classes: dog."),
        (of_class("predictions", area=0.93), "yellow", "predictions.large", "more than 90% of the area of their val"),
        (of_class("pseudo_labels", area=0.002), "yellow", "pseudo_labels.small", "to 1 of 2 classes: dog 0.2%."),
        (changed("agreement", miou=0.4), "yellow", "agreement.miou", "mean IoU over classes of 40%"),
        (changed("agreement", miou=0.2), "red", "agreement.miou", "of 80 training photos agree in 90% of the pixels"),
    ],
)  # fmt: skip
def test_each_reason_alone(figures, light, what, text):
    (reason,) = bad(figures)
    assert (reason.light, reason.what) == (light, what)
    assert text in reason.text and reason.next
    assert light_of(judge(figures, pretrained=True)) == light


def test_classes_that_no_map_shows_are_not_small_too():
    assert [reason.what for reason in bad(of_class("predictions", shown=0, area=0.0))] == ["predictions.never"]
    # A class that no photo is labelled with cannot be missed.
    assert bad(of_class("predictions", photos=0, shown=0, area=None)) == []


def test_many_classes_are_counted_and_five_named():
    classes = {f"c{k}": {"photos": 10, "shown": int(k > 7), "area": 0.1} for k in range(9)}
    (reason,) = bad(changed("pseudo_labels", classes=classes))
    assert (reason.light, reason.text.rpartition("leave out ")[2]) == (
        "red", "8 of 9 classes: c0, c1, c2, c3, c4, 3 more.",
    )  # fmt: skip


def test_advice_is_pretrained_weights_where_there_were_none():
    for part, figures in (("classifier", {"map": 0.3}), ("cams", {"flat": 98})):
        (without,), (with_weights,) = (bad(changed(part, **figures), pretrained=own) for own in (False, True))
        assert "preset: laptop, or weights: imagenet" in without.next
        assert "weights" not in with_weights.next and "labels" in with_weights.next


def test_the_worst_comes_first_then_the_cause():
    figures = changed("cams", flat=90) | {
        "classifier": {**GOOD["classifier"], "map": 0.6},
        "pseudo_labels": {**GOOD["pseudo_labels"], "lacking": 30},
        "predictions": {**GOOD["predictions"], "one_colour": 20},
    }
    reasons = judge(figures, pretrained=False)
    found = [(reason.light, reason.what) for reason in reasons if reason.light != "green"]
    assert found == [
        ("red", "cams.flat"),
        ("red", "predictions.one_colour"),
        ("yellow", "classifier.map"),
        ("yellow", "pseudo_labels.lacking"),
    ]
    assert [reason.light for reason in reasons[len(found) :]] == ["green"] * (len(reasons) - len(found))
    advice = {reason.what: reason.next for reason in reasons}
    # What follows from a red cause is not to be mended by itself; what comes before it is.
    assert advice["pseudo_labels.lacking"] == advice["predictions.one_colour"] == "First put the CAMs right."
    assert "weights" in advice["cams.flat"] and "weights" in advice["classifier.map"]


def test_what_a_run_lacks_is_left_out():
    only = {"predictions": {**GOOD["predictions"], "lacking": None, "foreign": None, "split": "test"}}
    (reason,) = judge(only, pretrained=True)
    assert (reason.light, reason.what) == ("green", "predictions.one_colour")
    assert "1 of 20 test photos" in reason.text
    # Of a split whose photos are gone there is nothing to say.
    assert not judge({"predictions": {**GOOD["predictions"], "photos": 0}}, pretrained=True)
    # Of so few photos even guesses are right.
    assert "classifier.map" not in [each.what for each in judge(changed("classifier", luck=1), pretrained=True)]


def test_lights_change_beyond_the_limits():
    assert [ONE_COLOUR.light(share) for share in (0, 0.1, 0.11, 0.5, 0.51, 1)] == [
        "green", "green", "yellow", "yellow", "red", "red",
    ]  # fmt: skip
    assert [LEARNED.light(share) for share in (1, 0.4, 0.39, 0.1, 0.09, -1)] == [
        "green", "green", "yellow", "yellow", "red", "red",
    ]  # fmt: skip
    assert [AGREEMENT.light(miou) for miou in (0.5, 0.25, 0.0)] == ["green", "yellow", "red"]
    assert [NEVER.light(share) for share in (0, 0.01, 0.6)] == ["green", "yellow", "red"]


def verdict(figures):
    reasons = judge(figures, pretrained=False)
    return {"light": light_of(reasons), "reasons": [reason._asdict() for reason in reasons]}


def test_the_terminal_shows_what_is_wrong_and_what_to_do():
    figures = changed("cams", flat=90) | {"predictions": {**GOOD["predictions"], "one_colour": 20, "lacking": 5}}
    first, *lines = as_lines(verdict(figures)).splitlines()
    assert first.endswith(": RED")
    assert [line.split()[0] for line in lines] == ["red", "->", "red", "yellow", "->"]  # the same advice stands once
    assert lines[1].strip() == "-> Start from pretrained weights: preset: laptop, or weights: imagenet."
    assert max(map(len, [first, *lines])) <= 110


def test_a_green_verdict_shows_what_was_looked_at():
    first, *lines = as_lines(verdict(GOOD)).splitlines()
    assert first.endswith(": GREEN")
    assert len([line for line in lines if line.startswith("green   ")]) == 16
    assert not any("->" in line for line in lines)
