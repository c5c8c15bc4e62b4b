"""A selection of the fault campaign, and that the campaign sees what it looks for."""

import itertools
import json
import os
import random
import subprocess
import sys

import pytest

from ssc.workflow.stage_table import RULES
from tests.faults import __main__ as command
from tests.faults.corruptions import corruptions, ways
from tests.faults.harness import (
    Campaign,
    Outcome,
    differences,
    not_whole,
    results,
    script_processes,
    scripts_by_rule,
    table,
    traceback_in,
)
from tests.faults.kills import kills
from tests.faults.snakemake import ROOT, Job, Place, jobs

OUTPUT = """\
[Tue Nov 24 12:41:34 2026]
localrule cams:
    input: results/tiny/index.tsv, results/tiny/classes.txt
    output: results/tiny/ssc/cams/1-of-2.zip
    log: results/tiny/ssc/logs/cams/1-of-2.log
    jobid: 6
    reason: Missing output files: results/tiny/ssc/cams/1-of-2.zip
rule random_walk:
    output: results/tiny/ssc/pseudo_labels/1-of-2.zip, results/tiny/ssc/confidence/1-of-2.zip
    jobid: 61
    reason: Forced execution
[Tue Nov 24 12:41:37 2026]
Finished jobid: 6 (Rule: cams)
Error in rule random_walk:
    jobid: 61
    output: results/tiny/ssc/pseudo_labels/1-of-2.zip, results/tiny/ssc/confidence/1-of-2.zip
localrule all:
    input: results/tiny/ssc/metrics.tsv
    jobid: 0
"""


@pytest.mark.parametrize("fault", [kills, corruptions])
def test_nothing_is_lost_or_stale(campaign, fault):
    outcome = fault(campaign)
    assert outcome.lost == []
    assert outcome.stale == []
    assert outcome.survived == outcome.tried > 2


def test_jobs_are_read_from_the_output_of_snakemake():
    cams, walk = jobs(OUTPUT)
    reason = "Missing output files: results/tiny/ssc/cams/1-of-2.zip"
    outputs = ("results/tiny/ssc/cams/1-of-2.zip",)
    assert cams == Job("cams", outputs, "results/tiny/ssc/logs/cams/1-of-2.log", reason, finished=True)
    assert (walk.rule, len(walk.outputs), walk.log, walk.finished) == ("random_walk", 2, "", False)


def test_results_are_compared_by_content_without_times(tmp_path):
    def run(name, seconds, miou):
        own = tmp_path / name / "results" / "tiny" / "ssc"
        (own / "logs").mkdir(parents=True)
        (own / "logs" / "cams.log").write_text(f"{seconds}")
        (own / "costs.tsv").write_text(f"{seconds}")
        (own / ".seeds.json.0.cache").write_text(f"{seconds}")
        (own / "irn.safetensors.checkpoint").write_text(f"{seconds}")
        (own / "metrics.tsv").write_text(f"stage\tmiou\tseconds\tmemory_mb\nseeds\t{miou}\t{seconds}\t{seconds}\n")
        (own / "seeds.json").write_text(json.dumps({"miou": 1}))
        return results(tmp_path / name)

    first = run("first", 1, 50.0)
    assert sorted(first) == ["results/tiny/ssc/metrics.tsv", "results/tiny/ssc/seeds.json"]
    assert run("second", 2, 50.0) == first
    assert differences(run("third", 1, 51.0), first) == ["results/tiny/ssc/metrics.tsv differs"]
    (tmp_path / "second" / "results" / "tiny" / "ssc" / "seeds.json").unlink()
    assert differences(results(tmp_path / "second"), first) == ["results/tiny/ssc/seeds.json is missing"]
    assert not_whole(tmp_path / "second", first) == []
    (tmp_path / "second" / "results" / "tiny" / "ssc" / "seeds.json").write_text('{"mio')
    assert not_whole(tmp_path / "second", first) == ["results/tiny/ssc/seeds.json differs"]


def test_a_fresh_folder_has_all_that_was_edited_and_no_result(tmp_path):
    edited = tmp_path / "edited"
    for name in ("photos/images/a.png", "mended/a.png", "my.yaml", "results/tiny/index.tsv", ".snakemake/x"):
        (edited / name).parent.mkdir(parents=True, exist_ok=True)
        (edited / name).write_text(name)
    fresh = Campaign(tmp_path).fresh("fresh", Place(edited, ROOT, edited / "my.yaml"))
    files = {str(file.relative_to(fresh.folder)) for file in fresh.folder.rglob("*") if file.is_file()}
    assert files == {"photos/images/a.png", "mended/a.png", "my.yaml"}
    assert fresh.configfile.read_text() == "my.yaml"


def test_every_damage_changes_the_file_and_some_leave_its_time(tmp_path):
    file = tmp_path / "a.zip"
    sizes, unnoticed = [], 0
    for _, damage in itertools.islice(ways(random.Random(0)), 12):
        file.write_bytes(bytes(1000))
        os.utime(file, (0, 0))
        damage(file)
        assert file.read_bytes() != bytes(1000)
        sizes.append(file.stat().st_size)
        unnoticed += file.stat().st_mtime == 0
    assert all(size == 1000 for size in sizes[::3])
    assert all(0 < size < 1000 for size in sizes[1::3])
    assert sizes[2::3] == [0] * 4
    assert 0 < unnoticed < 12


def test_a_traceback_is_no_message():
    assert traceback_in("Traceback (most recent call last):\n  File ...")
    assert not traceback_in("Error: photos/a.jpg is empty; restore it.")


def test_every_rule_with_a_script_can_be_found_among_the_processes(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.smk").write_text(
        'rule one:\n    script:\n        "../workflow_scripts/first.py"\n\n\n'
        'rule none:\n    input: "x"\n\n\nrule two:\n    script:\n        "../workflow_scripts/second.py"\n\n\n'
        'if a:\n\n    rule three:\n        script:\n            "../workflow_scripts/third.py"\n\n'
        'else:\n\n    rule three:\n        script:\n            "../workflow_scripts/other.py"\n'
    )
    assert scripts_by_rule(tmp_path) == {"one": "first", "two": "second", "three": "third|other"}


def test_the_scripts_of_the_workflow_are_found_and_exist():
    found = scripts_by_rule(ROOT)
    scripts = {path.stem for path in (ROOT / "workflow_scripts").glob("*.py")}
    assert set(RULES) < set(found)
    assert {name for names in found.values() for name in names.split("|")} <= scripts


def test_a_process_is_found_by_any_of_the_scripts_of_its_rule(tmp_path):
    script = tmp_path / ".snakemake" / "scripts" / "tmpabc.other.py"
    script.parent.mkdir(parents=True)
    script.write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    try:
        process.stdout.read(1)  # it runs
        assert script_processes([process.pid], "third|other") == [process.pid]
        assert script_processes([process.pid], "third|the") == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_settings_are_changed_under_their_dotted_keys(tmp_path):
    place = Place(tmp_path, tmp_path, tmp_path / "my.yaml")
    place.configfile.write_text("irn: {epochs: 3}\n")
    place.change("irn.lr", 0.5)
    place.change("seeds.threshold", 0.3)
    assert place.configfile.read_text() == "irn:\n  epochs: 3\n  lr: 0.5\nseeds:\n  threshold: 0.3\n"


@pytest.mark.parametrize(
    ("lost", "stale", "status"), [([], [], 0), (["a.zip is gone"], [], 1), ([], ["b.zip differs"], 1)]
)
def test_the_campaign_ends_with_an_error_if_anything_is_lost_or_stale(monkeypatch, capsys, lost, stale, status):
    monkeypatch.setattr(command, "CLASSES", {"kills": lambda campaign: Outcome("kills", 3, lost, stale)})
    monkeypatch.setattr(sys, "argv", ["chaos", "kills"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == status
    told = capsys.readouterr().out
    assert f"| kills | 3 | {3 - status} | {len(lost)} | {len(stale)} |" in told
    assert all(text in told for text in (*lost, *stale))


def test_table_says_what_was_skipped_and_how_often_each_rule_was_hit():
    outcome = Outcome("kills", skipped="no Slurm here")
    outcome.count("cams")
    outcome.count("cams")
    assert table([outcome]).splitlines()[-1] == "| kills | 2 | 2 | 0 | 0 | 0 | cams 2; no Slurm here |"
