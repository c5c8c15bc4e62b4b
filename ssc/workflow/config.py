"""The configuration: validated against config/schema.yaml, defaults filled in, experiments merged."""

import copy
import difflib
import math
import re
import unicodedata
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from ssc.models.networks import OUTPUT_STRIDES
from ssc.constants import STRIDE
from ssc.data.releases import DOWNLOADS
from ssc.runtime.errors import InputError
from ssc.workflow.experiments import sweep_experiments

# What all experiments of a data set share.
_SHARED = {
    "ablation",
    "report",
    "dataset",
    "experiment",
    "experiments",
    "shards",
    "device",
    "precision",
    "memory",
    "compile",
    "threads",
    "workers",
    "superpixels",
    "warm_start",
}

# Folders beside the experiments' in results/<data set>/.
_FOLDERS = {"ablation", "benchmarks", "data", "logs", "masks", "superpixels", "warm_start"}

_PYTHON_TYPES = {
    "string": [str],
    "integer": [int],
    "number": [int, float],
    "boolean": [bool],
    "null": [type(None)],
    "array": [list],
    "object": [dict],
}


def load_schema(path: str | Path) -> dict:
    """The JSON schema of the configuration."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def refuse_repeats(path: str | Path) -> None:
    """Refuse a configuration file in which a key stands twice: YAML would take the last one without a word.

    Raises:
        InputError: it does; the key and its line are named.
    """
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8"), yaml.SafeLoader)
    except yaml.YAMLError:  # JSON with tabs, say; Snakemake has read the file before and told what it cannot read
        return
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))  # an alias may lead back
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
            continue
        keys = set()
        for key, value in node.value:
            nodes.append(value)
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in keys:
                line = key.start_mark.line + 1
                raise InputError(f"{path}, line {line}: the key {key.value!r} stands there twice; keep one of the two.")
            keys.add(key.value)


def complete(config: dict, schema: dict) -> dict:
    """Validate a configuration and fill in the defaults; the input is not changed.

    The experiments that sweeps make are added to those declared, and every experiment is validated as well.

    Raises:
        InputError: an unknown key (the nearest known one is named), or a value that the schema or the networks refuse,
            or that cannot be a name or a number.
    """
    completed = _check(config, schema)
    known = completed["experiments"]
    for name, own in sweep_experiments(completed["ablation"]["sweeps"]).items():
        if known.setdefault(name, own) != own:
            raise InputError(f"experiments.{name} is also the name of an experiment of a sweep; choose another.")
    if taken := sorted(_FOLDERS & set(known)):
        raise InputError(
            f"experiments.{taken[0]}: results/<data set>/{taken[0]} holds shared files; choose another name."
        )
    for name in known:
        resolve(completed, schema, name)
    for name in completed["ablation"]["experiments"] or ():
        if name not in known:
            raise InputError(f"ablation.experiments: {name!r} is not among experiments; declare it there.")
    if split_seed(completed["experiment"])[0] not in known:
        raise InputError(
            f"experiment: {completed['experiment']!r} is not among experiments ({', '.join(known)}); declare it there."
        )
    return completed


def resolve(config: dict, schema: dict, experiment: str) -> dict:
    """Settings of one experiment: the configuration with the experiment's own keys laid over it.

    Args:
        config: a completed configuration.
        schema: its schema.
        experiment: `<name>` or `<name>-seed<k>`, which sets `seed` to k.

    Raises:
        InputError: no such experiment, or a setting that the schema refuses.
    """
    name, seed = split_seed(experiment)
    if name not in config["experiments"]:
        raise InputError(
            f"Experiment {name!r} is not declared under experiments; known: {', '.join(config['experiments'])}."
        )
    own = config["experiments"][name]
    if clash := sorted(_SHARED & set(own)):
        raise InputError(f"experiments.{name}.{clash[0]} is common to all experiments; set it outside of them.")
    merged = _check(_merge(config, own), schema, where=f"experiments.{name}.")
    if seed is not None:
        merged["seed"] = seed
    return merged


def split_seed(experiment: str) -> tuple[str, int | None]:
    """`ssc-seed2` to ("ssc", 2); `ssc` to ("ssc", None)."""
    match = re.fullmatch(r"(.+)-seed([0-9]+)", experiment)
    return (match[1], int(match[2])) if match else (experiment, None)


def _check(config: dict, schema: dict, where: str = "") -> dict:
    config = _fill(config, schema)
    _check_plain(config, where)
    for error in sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: list(map(str, e.path))):
        raise InputError(_sentence(error, where))
    _check_downloads(config, where)
    _check_networks(config, where)
    thresholds = config["seeds"]["thresholds"]
    if thresholds != sorted(set(thresholds)):
        raise InputError(f"{where}seeds.thresholds must ascend; sort them and drop repeats.")
    if config["seeds"]["threshold"] not in thresholds:
        raise InputError(
            f"{where}seeds.threshold: {config['seeds']['threshold']} is not among thresholds; add it there."
        )
    return config


def _check_plain(value: object, place: str) -> None:
    """Refuse what YAML can say and no setting means. `place` ends with a dot where it names a section."""
    where = place.rstrip(".")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):  # YAML 1.1 reads no, on and 2012 as other types
                raise InputError(f"Config: the key {key!r}{f' under {where}' if where else ''} is no text; quote it.")
            _check_plain(item, f"{place}{key}.")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_plain(item, f"{place}{number}.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"Config: {where}: {value} is no finite number.")
    elif isinstance(value, str):
        if not value:
            raise InputError(f"Config: {where} is empty; give it a value, or drop the line.")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
            raise InputError(f"Config: {where}: {value!r} holds a line break or another control character.")
        if "{" in value or "}" in value:  # Snakemake would look for a wildcard
            raise InputError(f"Config: {where}: {value!r} holds a curly bracket, which no name may; rename the file.")


def _check_downloads(config: dict, where: str) -> None:
    dataset = config["dataset"]
    for kind, places in DOWNLOADS.items():
        for key in places:
            if dataset[key] == "download" and dataset["kind"] != kind:
                raise InputError(
                    f"dataset.{key}: 'download' is for kind {kind}, not {dataset['kind']}; name your folder or file."
                )
    if dataset["root"] == "download" and dataset["test_root"] is None and config["prediction"]["split"] == "test":
        raise InputError(
            f"{where}prediction.split: VOC's test photos are given out after a login only; fetch VOC2012test and name "
            "its folder under dataset.test_root."
        )


def _check_networks(config: dict, where: str) -> None:
    for section in ("classifier", "irn", "segmentation"):
        name, stride = config[section]["backbone"], config[section]["output_stride"]
        if stride not in OUTPUT_STRIDES[name]:
            allowed = ", ".join(map(str, OUTPUT_STRIDES[name]))
            raise InputError(f"{where}{section}.output_stride: {name} has {allowed}, not {stride}.")
        _check_weights(config, f"{where}{section}", config[section]["weights"], name)
    cdr = config["classifier"]["cdr"]
    if cdr["enabled"] and cdr["loss"] == "perceptual":
        _check_weights(config, f"{where}classifier.cdr", cdr["weights"], cdr["network"])
    crop, stride = config["classifier"]["crop"], config["classifier"]["output_stride"]
    if crop % stride:
        raise InputError(f"{where}classifier.crop: {crop} is no multiple of the output stride {stride}.")
    if crop < 2 * stride:
        raise InputError(
            f"{where}classifier.crop: {crop} leaves one cell at output stride {stride}; take a larger one."
        )
    for section, key in (("classifier", "resize_long"), ("irn", "scale")):
        low, high = config[section][key]
        if low > high:
            raise InputError(f"{where}{section}.{key}: {low} is above {high}; write the smaller one first.")
    radius, crop = config["irn"]["radius"], config["irn"]["crop"]
    least = STRIDE * (2 * radius - 1)
    if crop < least:
        raise InputError(f"{where}irn.crop: {crop} is too small for radius {radius}; take {least} or more.")


def _check_weights(config: dict, place: str, weights: str, network: str) -> None:
    own = config["classifier"]["backbone"]
    if weights == "warm_start" and network != own:
        raise InputError(
            f"{place}.weights: a warm start trains the classifier's backbone ({own}), not {network}; "
            "name other weights or the same network."
        )
    if weights == "imagenet" and network == "tiny":
        raise InputError(f"{place}.weights: there are no ImageNet weights for tiny; use warm_start or none.")


def _fill(config: dict, schema: dict) -> dict:
    # New dictionaries key by key: sections that share one through a YAML alias must not get each other's defaults.
    filled = {key: copy.deepcopy(value) for key, value in config.items()}
    rules = schema.get("properties", {})
    if isinstance(free := schema.get("additionalProperties"), dict):  # names that the user gives, such as of sweeps
        rules = {**rules, **{key: free for key in filled if key not in rules}}
    for key, rule in rules.items():
        if "default" in rule and key not in filled:
            filled[key] = copy.deepcopy(rule["default"])
        if key in filled:
            filled[key] = _fill(filled[key], rule) if isinstance(filled[key], dict) else _typed(filled[key], rule)
    return filled


def _typed(value: object, rule: dict) -> object:
    """`value` as the schema's type, where it is text that reads as such.

    Snakemake hands over the numbers inside `--config key={...}` as text, and YAML 1.1 reads 1e-4 as text.
    """
    if isinstance(value, list):
        return [_typed(item, rule.get("items", {})) for item in value]
    types = {type(item) for item in rule["enum"]} if "enum" in rule else _types(rule.get("type", "string"))
    if isinstance(value, float) and value.is_integer() and int in types and float not in types:
        return int(value)  # which the schema takes, but no count of passes or pixels can be
    if not isinstance(value, str) or value in rule.get("enum", []):
        return value
    word = value.strip().lower()
    if type(None) in types and word in ("null", "none"):
        return None
    if bool in types and word in ("true", "false"):
        return word == "true"
    for number in (int, float):
        if number in types and str not in types:
            try:
                return number(value)
            except ValueError:
                continue
    return value


def _types(names: str | list[str]) -> set[type]:
    return {kind for name in ([names] if isinstance(names, str) else names) for kind in _PYTHON_TYPES[name]}


def _merge(base: dict, own: dict) -> dict:
    merged = dict(base)
    for key, value in own.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def _sentence(error, where: str) -> str:
    place = (where + ".".join(map(str, error.absolute_path))).rstrip(".")
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}."
        return f"Config: unknown key {unknown!r}{f' under {place}' if place else ''}; {hint}"
    return f"Config: {place or 'the file'}: {error.message}."


def warm_start_settings(config: dict, *, backbone: str, output_stride: int) -> dict:
    """Classifier settings of the warm start: classification only, from random weights, batch norms trained.

    They depend on nothing but the arguments, the `warm_start` section, and the classifier's window, so that a change
    of the method's settings does not train the shared start again.
    """
    warm, classifier = config["warm_start"], config["classifier"]
    return {
        **warm,
        "head_lr": warm["lr"],
        "backbone": backbone,
        "output_stride": output_stride,
        "resize_long": classifier["resize_long"],
        "crop": classifier["crop"],
        "stop_gradient_after": 0,
        "freeze_norm": False,
        "drs": {"enabled": False, "delta": 1.0},
        "cdr": {"enabled": False},
        "asm": {"enabled": False},
    }
