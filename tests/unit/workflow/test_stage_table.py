"""The stage table against the rules that it stands for."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from ssc.workflow.settings import Ready, Settings
from ssc.workflow.stage_table import RULES, STAGES, TRAININGS, sharded_rules, stage_of

ROOT = Path(__file__).parents[3]


@cache
def rules():
    """By name, the text of each rule; of a rule that is declared twice (ready files or not) both."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for part in re.split(r"\n *(?=rule \w+:)", path.read_text())[1:]:
            found.setdefault(re.match(r"rule (\w+):", part)[1], []).append(part)
    return found


def script_of(rule):
    return ROOT / "workflow_scripts" / re.search(r'script:\s+"\.\./workflow_scripts/(\w+\.py)"', rule)[1]


def called(script):
    """Modules of `ssc` whose functions a script imports."""
    nodes = ast.walk(ast.parse(script.read_text()))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("ssc.")}


def test_every_rule_has_log_benchmark_resources_and_a_script():
    for name, texts in rules().items():
        for rule in texts:
            # Snakemake allows no benchmark where a result may come from its cache.
            measured = "cache:" if "cache:" in rule else "benchmark:"
            for directive in ("log:", measured, "threads:", "resources:", "mem_mb=", "runtime=", "script:"):
                assert directive in rule, f"{name} lacks {directive}"


def test_scripts_are_thin_and_each_is_a_rules():
    scripts = {script_of(rule) for texts in rules().values() for rule in texts}
    assert scripts == set((ROOT / "workflow_scripts").glob("*.py"))
    for path in scripts:
        text = path.read_text()
        assert len(text.splitlines()) <= 40, path
        assert "with job(snakemake):" in text, path


@pytest.mark.parametrize("name", RULES)
def test_a_rule_of_the_table_exists_and_calls_its_module(name):
    rule = rules()[name][-1]  # the first of superpixels reads ready ones
    assert RULES[name].module in called(script_of(rule))
    outputs = re.search(r"output:\n(.*?)\n +log:", rule, re.DOTALL)[1]
    for path in RULES[name].outputs.values():
        assert f'outputs("{name}")' in outputs or f'outputs("{stage_key(name)}")' in outputs, path


def stage_key(name):
    return next(key for key, stage in STAGES.items() if RULES[name] in stage.rules)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_reruns_with_the_code_of_its_module(name):
    found = re.findall(r'(?:source_digest|code)\(\s*"([\w.]+)"', rules()[name][-1])
    # What the index calls beside these refuses a run or tells of it, and changes no table.
    parts = [f"ssc.data.{name}" for name in ("build", "index", "check", "check_masks", "shrink")]
    assert found == (parts if name == "index" else [RULES[name].module])


@pytest.mark.parametrize("name", RULES)
def test_benchmark_files_lie_where_the_rule_writes_them(name):
    rule, benchmark = rules()[name][-1], RULES[name].benchmark
    written = re.search(r'benchmark:\s+f"\{(?:RUN|RESULTS)\}/benchmarks/(.+)\.tsv"', rule)[1]
    written = written.replace("{{", "{").replace("}}", "}")
    if name == "warm_start":  # a file of each backbone
        assert written.startswith(f"{benchmark}/")
    else:
        assert written == benchmark


def test_sharded_rules_are_those_that_slurm_takes_as_arrays():
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert profile["slurm-array-jobs"].split(", ") == sharded_rules()
    for name in RULES:
        log = re.search(r'log:\s+f"(.+)"', rules()[name][-1])[1]
        assert ("{{shard}}" in log) == (name in sharded_rules())


def test_names_are_unique_and_stages_know_their_rules():
    names = [rule.name for stage in STAGES.values() for rule in stage.rules]
    assert len(names) == len(set(names)) == len(RULES)
    for stage in STAGES.values():
        assert [stage_of(rule.name) for rule in stage.rules] == [stage] * len(stage.rules)
        assert list(stage.outputs()) == [path for rule in stage.rules for path in rule.outputs.values()]
    files = [path for stage in STAGES.values() for path in stage.outputs()]
    assert len(files) == len(set(files))


def test_settings_and_ready_keys_are_those_of_the_configuration():
    for name, stage in STAGES.items():
        assert set(stage.settings) <= set(Settings.model_fields), name
        assert (stage.ready is not None) == (name in Ready.model_fields), name
        assert stage.figures is None or stage.figures in list(stage.outputs()), name
    assert {name for name, stage in STAGES.items() if stage.ready == "weights"} == set(TRAININGS)


def test_the_graph_has_no_cycle_and_follows_the_order():
    nodes = list(STAGES)
    edges = [(source, name) for name, stage in STAGES.items() for source in stage.reads]
    # An edge that leads forward in one order closes no cycle.
    assert all(nodes.index(source) < nodes.index(name) for source, name in edges)
    reached = {"predictions"}
    for source, name in sorted(edges, key=lambda edge: nodes.index(edge[1]), reverse=True):
        if name in reached:
            reached.add(source)
    assert reached | {"seeds", "cross_validation"} == set(STAGES)  # nothing is made for nothing
