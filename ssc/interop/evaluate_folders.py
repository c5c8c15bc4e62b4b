"""mIoU of label maps that lie in folders, whoever made them: what `ssc evaluate` tells."""

from pathlib import Path

import numpy as np

from ssc.constants import IGNORE
from ssc.interop.folders import label_maps
from ssc.metrics import ConfusionMatrix, summary
from ssc.runtime.errors import InputError


def evaluate_folders(predictions: str | Path, masks: str | Path, *, num_classes: int | None = None) -> dict:
    """mIoU of two folders (or shard archives) of label PNGs, matched by file name; one image in memory at a time.

    Args:
        predictions, masks: folders of `<id>.png`, or zip archives of them. 255 in a mask is ignored; predictions
            without a mask take no part.
        num_classes: classes with background; None takes the largest id at a counted pixel plus one.

    Returns:
        `miou` and `iou` (by class id, 0 named `background`) as fractions of 1, and the number of `images`.

    Raises:
        InputError: no mask, none that shows a class, a mask without a prediction, a file that is no label map,
            different sizes, or a counted class id out of range (255 is one in any prediction).
    """
    own, truth = label_maps(predictions), label_maps(masks)
    if not truth:
        raise InputError(f"{masks} holds no PNG masks; name the folder or archive of <id>.png files.")
    missing = sorted(set(truth) - set(own))
    if missing:
        raise InputError(f"{predictions} lacks {len(missing)} of {len(truth)} predictions; the first is {missing[0]}.")
    matrix = ConfusionMatrix(IGNORE if num_classes is None else num_classes)
    for name in sorted(truth):
        target, prediction = truth[name](), own[name]()
        if target.ndim != 2:
            raise InputError(f"{name} in {masks} is a colour picture; a mask holds one class id per pixel.")
        if target.shape != prediction.shape:
            raise InputError(f"{name}: the prediction is {prediction.shape}, its mask {target.shape}.")
        try:
            matrix.update(target, prediction)
        except ValueError as error:
            raise InputError(f"{name}: {error}.") from None
    if not matrix.counts[1:].any():
        raise InputError(
            f"No mask in {masks} shows a class, only background (0) or what is ignored ({IGNORE}); there is nothing to "
            "measure on: write the ids of the classes into them."
        )
    if num_classes is None:
        seen = np.flatnonzero(matrix.counts.sum(axis=0) + matrix.counts.sum(axis=1))
        num_classes = 1 + int(seen.max(initial=0))
    figures = summary(matrix.counts[:num_classes, :num_classes], [str(k) for k in range(1, num_classes)])
    return {"miou": figures["miou"], "iou": figures["iou"], "images": len(truth)}
