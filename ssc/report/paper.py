"""What the paper reports, as data: `paper.tsv` beside this module holds its tables, a value per line.

mIoU in percent, memory in GB of a GPU for a batch of 6. Table II is given as far as the paper's text repeats it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ssc.runtime.files import read_table

if TYPE_CHECKING:  # the names of `ABLATION` are asked for where the workflow is read, too
    import pandas as pd

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


def results() -> "pd.DataFrame":
    """All numbers, in the order of the tables.

    Columns: `table` (Roman numeral), `dataset` (`voc12` or `coco14`), `method`, `supervision` (I image labels, S
    saliency maps, O out-of-distribution images, L language) and `backbone` as the table names them, `measure`
    (`seeds`, `pseudo-labels`, `segmentation`: mIoU in percent; `memory`: GB), `split` that it is measured on, `value`.
    """
    return read_table(Path(__file__).with_suffix(".tsv")).astype({"value": float})


def ablation_value(experiment: str) -> tuple[str, float] | None:
    """Tables (joined by a comma) and mIoU in percent of the seeds that the paper reports for an experiment of
    `ABLATION`; None for any other."""
    if experiment not in ABLATION:
        return None
    values = results().set_index(["table", "method"])["value"]
    return ", ".join(table for table, _ in ABLATION[experiment]), float(values.loc[ABLATION[experiment][0]])
