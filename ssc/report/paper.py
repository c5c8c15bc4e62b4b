"""What the paper reports, as data: `paper.tsv` beside this module holds its tables, a value per line.

mIoU in percent, memory in GB of a GPU for a batch of 6. Table II is given as far as the paper's text repeats it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ssc.runtime.files import read_tsv

# Rows of the ablation tables by the name of the experiment that reproduces them (config/experiments.yaml).
ABLATION = {
    "baseline": [("VII", "baseline")],
    "drs": [("VII", "baseline + DRS"), ("VIII", "w/o CDR")],
    "cdr_early": [("VII", "baseline + DRS + CDR early")],
    "cdr": [("VII", "baseline + DRS + CDR"), ("VIII", "w/ CDR + perceptual loss")],
    "asm_without_ras": [("VII", "baseline + DRS + CDR + ASM w/o RAS")],
    "ssc": [("VII", "baseline + DRS + CDR + ASM")],
    "cdr_l1": [("VIII", "w/ CDR + L1 loss")],
    "cdr_l2": [("VIII", "w/ CDR + L2 loss")],
}


@dataclass(frozen=True)
class Result:
    """One number of the paper.

    Attributes:
        table: Roman numeral.
        dataset: `voc12` or `coco14`.
        method, supervision, backbone: as the table names them; supervision I image labels, S saliency maps, O
            out-of-distribution images, L language.
        measure: `seeds`, `pseudo-labels`, `segmentation` (mIoU in percent) or `memory` (GB).
        split: images that it is measured on.
        value: the number.
    """

    table: str
    dataset: str
    method: str
    supervision: str
    backbone: str
    measure: str
    split: str
    value: float


@cache
def results() -> tuple[Result, ...]:
    """All numbers, in the order of the tables."""
    rows = read_tsv(Path(__file__).with_suffix(".tsv"))
    return tuple(Result(**{**row, "value": float(row["value"])}) for row in rows)


def ablation_value(experiment: str) -> tuple[str, float] | None:
    """Tables (joined by a comma) and mIoU in percent of the seeds that the paper reports for an experiment of
    `ABLATION`; None for any other."""
    if experiment not in ABLATION:
        return None
    (table, method), *_ = ABLATION[experiment]
    value = next(result.value for result in results() if (result.table, result.method) == (table, method))
    return ", ".join(table for table, _ in ABLATION[experiment]), value
