import pytest

from ssc.data.index import Index, Row
from ssc.report.costs import FORMATS, cost_table
from ssc.report.text import as_text
from ssc.runtime.files import write_text

COLUMNS = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def rule(tmp_path):
    """Function that writes the benchmark files of a rule's jobs, given as (seconds, memory, load)."""

    def write(name, *jobs, splits=("train",), masked=False):
        files = [tmp_path / name / f"{k}.tsv" for k in range(len(jobs))]
        for file, (seconds, memory, load) in zip(files, jobs, strict=True):
            write_text(file, f"{COLUMNS}{seconds}\t0:00:01\t{memory}\t1\t1\t1\t1\t1\t{load}\t1\n")
        return {"rule": name, "files": [*files, tmp_path / "absent.tsv"], "splits": splits, "masked": masked}

    return write


def index(photos: str) -> Index:
    """A training photo for each letter, `m` with a mask, and one of the split `val`."""
    rows = [Row(f"{k}", "train", "", "mask" if letter == "m" else "", ()) for k, letter in enumerate(photos)]
    return Index([], [*rows, Row("v", "val", "", "mask", ())])


def cost_rows(stages, index) -> list[dict[str, str]]:
    """Rows of the table as it is written, without their empty cells."""
    table = cost_table(stages, index)
    assert list(table) == ["stage", "rule", *FORMATS]
    rows = as_text(table, FORMATS).to_dict("records")
    return [{name: cell for name, cell in row.items() if cell != ""} for row in rows]


def test_a_row_per_rule_and_sums_over_rules(rule):
    cams = rule("cams", (1.5, 100.4, 50.0), (3.5, 300.6, 100.0))
    counted = rule("count_seeds", (0.25, 200.0, 20.0), masked=True)
    summed = rule("evaluate_seeds", (0.25, 5.0, 0.0), splits=())
    stages = {"data": [rule("demo_data")], "seeds": [cams, counted, summed], "IRN": [rule("train_irn", (20, 50, 180))]}
    rows = cost_rows(stages, index("mm-----m"))
    assert rows == [
        {
            "stage": "seeds", "jobs": "4", "seconds": "5.5", "longest_job": "3.5",
            "mean_load": f"{(1.5 * 50 + 3.5 * 100 + 0.25 * 20) / 5.5:.0f}", "memory_mb": "301",
        },
        {
            "stage": "seeds", "rule": "cams", "jobs": "2", "photos": "8", "seconds": "5.0", "longest_job": "3.5",
            "mean_load": "85", "memory_mb": "301", "seconds_per_photo": "0.6250",
        },
        {
            "stage": "seeds", "rule": "count_seeds", "jobs": "1", "photos": "3", "seconds": "0.2",
            "longest_job": "0.2", "mean_load": "20", "memory_mb": "200", "seconds_per_photo": "0.0833",
        },
        {
            "stage": "seeds", "rule": "evaluate_seeds", "jobs": "1", "seconds": "0.2", "longest_job": "0.2",
            "mean_load": "0", "memory_mb": "5",
        },
        {
            "stage": "IRN", "rule": "train_irn", "jobs": "1", "photos": "8", "seconds": "20.0", "longest_job": "20.0",
            "mean_load": "180", "memory_mb": "50", "seconds_per_photo": "2.5000",
        },
        {
            "stage": "all", "jobs": "5", "seconds": "25.5", "longest_job": "20.0",
            "mean_load": f"{(1.5 * 50 + 3.5 * 100 + 0.25 * 20 + 20 * 180) / 25.5:.0f}", "memory_mb": "301",
        },
    ]  # fmt: skip
    assert set().union(*rows) == {"stage", "rule", *FORMATS}


@pytest.mark.parametrize("cell", ["NA", "-", ""])
def test_jobs_too_short_to_be_sampled_count_by_their_seconds(rule, cell):
    row, *_ = cost_rows({"seeds": [rule("cams", (1, cell, cell), (3, 70, 40))]}, index(""))
    assert (row["jobs"], row["seconds"], row["mean_load"], row["memory_mb"]) == ("2", "4.0", "40", "70")
    row, *_ = cost_rows({"seeds": [rule("cams", (1, cell, cell))]}, index(""))
    assert row == {"stage": "seeds", "rule": "cams", "jobs": "1", "seconds": "1.0", "longest_job": "1.0"}


def test_photos_of_all_splits_that_a_rule_goes_through(rule):
    masks = rule("masks", (1, 1, 1), splits=["train", "val"], masked=True)
    assert cost_rows({"data": [masks]}, index("m-m"))[0]["photos"] == "3"


def test_without_benchmark_files_there_are_no_rows(rule):
    assert cost_rows({"data": [rule("index")], "superpixels": []}, index("m")) == []
