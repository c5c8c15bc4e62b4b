"""Two runs, or a run and the folders of another code base, stage by stage: how far their maps agree."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssc.cams import full_cams
from ssc.constants import IGNORE
from ssc.data.index import SPLITS, read_index
from ssc.data.photos import open_photo, upright_size
from ssc.interop.folders import Arrays, cam_files, label_maps, stage_archives
from ssc.metrics import ConfusionMatrix
from ssc.runtime.errors import InputError
from ssc.runtime.files import locate
from ssc.runtime.progress import track
from ssc.seeds import strongest_class

# Stages that leave maps, in the order of the road, with the names that their folders have in the released code.
_LABELS = {
    "irn_labels": ("ir_label",),
    "pseudo_labels": ("sem_seg",),
    "confidence": (),
    "predictions/train": (),
    "predictions/val": ("predictions",),
    "predictions/test": (),
}
_CAMS = ("cam", "cam_out")
_TOLERANCE = 1e-3  # of a CAM: float16 rounds by half of that at most


class Agreement(NamedTuple):
    """How far a stage's maps of two sources agree.

    Attributes:
        stage: folder of the stage; `seeds` for what one threshold makes of both CAMs.
        images: number of images that both have.
        alone: number of those that one has.
        difference: largest absolute difference of two CAMs at stride 4, and its mean; None for labels.
        agreement: share of equal pixels, 0..1; None for CAMs.
        miou: of the first with the second for truth, and the other way round; they differ where 255 stands, which is
            not counted in a truth. None for CAMs and confidence masks.
        truth: mIoU of the first and of the second on the masks of a run; None where there are none.
    """

    stage: str
    images: int
    alone: int
    difference: tuple[float, float] | None = None
    agreement: float | None = None
    miou: tuple[float, float] | None = None
    truth: tuple[float, float] | None = None

    @property
    def parts(self) -> bool:
        """Whether the sources part here: a pixel has another label, or a CAM differs by more than its rounding."""
        if not self.images:
            return False
        return self.difference[0] > _TOLERANCE if self.difference else self.agreement < 1

    def told(self) -> str:
        """The agreement in words."""
        if not self.images:
            return "in one of them only"
        if self.difference:
            return "CAMs differ by {:.2g} at most, {:.2g} in the mean".format(*self.difference)
        words = f"{100 * self.agreement:.3f} % of the pixels are equal"
        if self.miou:
            words += ", mIoU {:.2f} / {:.2f} with the other for truth".format(*(100 * value for value in self.miou))
        if self.truth:
            words += ", {:.2f} and {:.2f} on the masks".format(*(100 * value for value in self.truth))
        return words


def compare_stages(first: str | Path, second: str | Path, *, threshold: float = 0.2) -> list[Agreement]:
    """Compare what two sources have of each stage, in the order of the road.

    Args:
        first, second: folders of a run, or with folders named like those of a run (`cams`, `irn_labels`,
            `pseudo_labels`, `confidence`, `predictions/<split>`) or of the released code. One at least is a run, for
            its index and masks.
        threshold: background threshold of the seeds.

    Returns:
        A row for each stage of which either has images.

    Raises:
        InputError: neither is a run, no stage is in both, or two maps of an image differ in size.
    """
    roots = locate(Path.cwd(), first), locate(Path.cwd(), second)
    results = next((root.parent for root in roots if (root.parent / "index.tsv").is_file()), None)
    if results is None:
        raise InputError(f"Neither {first} nor {second} is the folder of a run, results/<data set>/<experiment>.")
    table = read_index(results / "index.tsv")
    photos = {row.id: results.parents[1] / row.image for row in table.split("train")}
    masks = {split: label_maps(results / "masks" / split) for split in SPLITS if (results / "masks" / split).is_dir()}
    found = []
    cams = [cam_files(*sources) for sources in (_sources(root, "cams", _CAMS) for root in roots)]
    found += [compare_cams("cams", *cams), _compare_seeds(cams, photos, masks.get("train", {}), threshold)]
    for stage, others in _LABELS.items():
        split = stage.partition("/")[2] or "train"
        maps = [label_maps(*_sources(root, stage, others)) for root in roots]
        truth = masks.get(split, {}) if stage not in ("confidence", "irn_labels") else {}
        found.append(compare_labels(stage, *maps, truth=truth, classes=stage != "confidence"))
    if not any(each.images for each in found):
        raise InputError(f"{first} and {second} have no image of any stage in common; see `ssc compare-stages --help`.")
    return [each for each in found if each.images or each.alone]


def compare_cams(stage: str, ours: Mapping, theirs: Mapping) -> Agreement:
    """Compare CAMs at stride 4, given by image id what reads their arrays; see `ssc.interop.folders.cam_files`.

    Raises:
        InputError: the CAMs of an image are of other classes, or of another size.
    """
    common = sorted(ours.keys() & theirs.keys())
    largest = total = count = 0
    for name in track(common, stage):
        own, other = ours[name](), theirs[name]()
        _check_alike(name, own["classes"].tolist(), other["classes"].tolist(), "classes")
        _check_alike(name, own["cams"].shape, other["cams"].shape, "CAMs")
        difference = np.abs(own["cams"].astype(np.float64) - other["cams"])
        largest = max(largest, difference.max(initial=0))
        total, count = total + difference.sum(), count + difference.size
    return Agreement(
        stage, len(common), len(ours.keys() ^ theirs.keys()), (float(largest), float(total / max(count, 1)))
    )


def compare_labels(
    stage: str, ours: Mapping, theirs: Mapping, *, truth: Mapping[str, Callable] | None = None, classes: bool = True
) -> Agreement:
    """Compare label maps, given by image id what reads them; see `ssc.interop.folders.label_maps`.

    Args:
        stage: name of the row.
        ours, theirs: the maps.
        truth: masks, on which both are measured.
        classes: labels are classes; of others there is no mIoU.

    Raises:
        InputError: two maps of an image differ in size.
    """
    common = sorted(ours.keys() & theirs.keys())
    equal = pixels = 0
    matrices = [ConfusionMatrix(IGNORE) for _ in range(4)]
    measured = False
    for name in track(common, stage):
        own, other = ours[name](), theirs[name]()
        _check_alike(name, own.shape, other.shape, "maps")
        equal, pixels = equal + int((own == other).sum()), pixels + own.size
        pairs = [(other, own), (own, other)] if classes else []
        if classes and truth and name in truth:
            target, measured = truth[name](), True
            pairs += [(target, own), (target, other)]
        for matrix, (target, prediction) in zip(matrices, pairs, strict=False):
            matrix.update(target, np.where(prediction == IGNORE, 0, prediction))
    scores = [matrix.miou() for matrix in matrices]
    return Agreement(
        stage,
        len(common),
        len(ours.keys() ^ theirs.keys()),
        agreement=equal / max(pixels, 1),
        miou=(scores[0], scores[1]) if classes else None,
        truth=(scores[2], scores[3]) if measured else None,
    )


def _compare_seeds(
    files: list[Mapping[str, Callable[[], Arrays]]], photos: Mapping[str, Path], masks: Mapping, threshold: float
) -> Agreement:
    """`compare_labels` of what a background threshold makes of CAMs at the size of the photo."""

    def seeds(name: str, read: Callable[[], Arrays]) -> Callable[[], np.ndarray]:
        def label() -> np.ndarray:
            with open_photo(photos[name]) as photo:
                size = upright_size(photo)
            arrays = read()
            best, score = strongest_class(arrays["classes"].astype(np.int64), full_cams(arrays, size))
            return np.where(score > threshold, best, 0)

        return label

    ours, theirs = ({name: seeds(name, read) for name, read in own.items() if name in photos} for own in files)
    return compare_labels(f"seeds at {threshold:g}", ours, theirs, truth=masks)


def _sources(root: Path, stage: str, others: tuple[str, ...]) -> list[Path]:
    """The archives of a stage in a run, or the folder that another source has of it; or none."""
    return stage_archives(root, stage) or [root / name for name in (stage, *others) if (root / name).is_dir()][:1]


def _check_alike(name: str, own: object, other: object, what: str) -> None:
    if own != other:
        raise InputError(f"{name}: the first has {what} {own}, the second {other}; they are not of the same photos.")
