"""The best epoch of a segmentation's training by its mIoU on validation masks, as the release chooses it [R]."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from ssc.archive import Archive
from ssc.data.index import Row
from ssc.data.photos import read_image
from ssc.data.transforms import normalise, resize_labels
from ssc.metrics import confusion, summary
from ssc.models.deeplab import DeepLabV2, evaluating, mean_logits
from ssc.runtime.distributed import processes, rank
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import log
from ssc.training.run import Run


class BestEpoch(nn.Module):
    """Copies of networks as they were after the best epoch so far; a module, so that checkpoints hold it.

    Args:
        networks: one network or a co-trained pair.
        rows: the validation photos, all with masks.
        masks: shard archives of their ground truth.
        classes: their number, with background.
        side: of the square that photos and masks are resized to, as in the release: the training window's.
    """

    def __init__(self, networks: Sequence[DeepLabV2], *, rows: Sequence[Row], masks: Archive, classes: int, side: int):
        super().__init__()
        self.networks = nn.ModuleList(copy.deepcopy(network).requires_grad_(False) for network in networks)
        self.register_buffer("miou", torch.full((), -1.0, dtype=torch.float64))
        self._rows, self._masks, self._classes, self._side = rows, masks, classes, side

    def consider(self, networks: Sequence[DeepLabV2], run: Run) -> None:
        """Measure the networks; keep copies where they are better than those of all earlier epochs."""
        with evaluating(networks):
            counts = run.sum(torch.from_numpy(self._count(networks, run)).to(run.device))
        miou = summary(counts.cpu().numpy(), [f"{k}" for k in range(1, self._classes)])["miou"] or 0.0
        better = miou > self.miou.item()
        log.info("mIoU %.2f %% on the validation masks%s.", 100 * miou, ", the best so far" if better else "")
        if better:
            self.miou.fill_(miou)
            for kept, network in zip(self.networks, networks, strict=True):
                kept.load_state_dict(network.state_dict())

    @torch.no_grad()
    def _count(self, networks: Sequence[DeepLabV2], run: Run) -> np.ndarray:
        """Confusion matrix over this process's part of the photos, at one scale; read ahead, and one at a time."""
        size = (self._side, self._side)

        def read(row: Row) -> tuple[torch.Tensor, np.ndarray]:
            photo = Image.fromarray(read_image(row.image)).resize(size, Image.Resampling.BILINEAR)
            return normalise(np.asarray(photo)), resize_labels(self._masks.labels(row.id), size)

        counts = np.zeros((self._classes, self._classes), np.int64)
        for view, target in parallel_map(read, self._rows[rank() :: processes()], threads=2):
            (scores,) = mean_logits(networks, view[None].to(run.device), size=size, precision=run.precision)
            counts += confusion(target, scores.argmax(dim=0).cpu().numpy(), num_classes=self._classes)
        return counts
