"""The configuration: its files validated and completed, experiments laid over it.

What a single key may be stands in `ssc.workflow.settings`; here is what several of them must agree on.
"""

import re
import unicodedata
from pathlib import Path

import yaml
from pydantic import ValidationError

from ssc.constants import STRIDE
from ssc.data.releases import DOWNLOADS
from ssc.models.networks import IMAGENET_V2, NETWORKS
from ssc.runtime.errors import InputError
from ssc.workflow.experiments import sweep_experiments
from ssc.workflow.presets import PRESETS, merge, preset_settings
from ssc.workflow.section import Section
from ssc.workflow.settings import KINDS, Classifier, Common, Dataset, Settings

# What Pydantic puts between keys: of a mapping, and the branches of a union.
_NO_KEYS = ("[key]", "float", "constrained-int", "str")

# Keys by the names that they had before.
MOVED = {
    "superpixels.folder": "ready.superpixels",
    "classifier.trained": "ready.classifier",
    "cams.folder": "ready.cams",
    "irn.trained": "ready.irn",
    "pseudo_labels.folder": "ready.pseudo_labels",
    "segmentation.trained": "ready.segmentation",
    "irn_labels.foreground": "irn_labels.foreground_threshold",
    "irn_labels.background": "irn_labels.background_threshold",
    "pseudo_labels.background": "pseudo_labels.threshold",
}

# Folders beside the experiments' in results/<data set>/.
_FOLDERS = {
    *("ablation", "benchmarks", "data", "index", "logs", "masks", "photos", "superpixels", "tensorboard", "warm_start"),
}

# What is told in place of Pydantic's words, by the type of its error.
_PLAIN = {
    **dict.fromkeys(["int_type", "int_parsing", "int_from_float"], "should be a whole number"),
    **dict.fromkeys(["float_type", "float_parsing"], "should be a number"),
    **dict.fromkeys(["model_type", "dict_type"], "should be a section with keys of its own"),
    "string_type": "should be text; quote it",
}


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


def complete(config: dict) -> dict:
    """Validate a configuration and fill in the defaults; the input is not changed.

    The experiments that sweeps make are added to those declared, and every experiment is validated as well.

    Returns:
        The values of JSON, all keys of `ssc.workflow.settings.Settings`.

    Raises:
        InputError: a key that is unknown, has moved, or is another kind of data set's; a value that its type, its range
            or another key refuses, or that cannot be a name or a number.
    """
    _refuse_odd_values(config)
    _refuse_moved(config)
    config = _over_preset(config)
    completed = _validated(config).model_dump(mode="json")
    known = completed["experiments"]
    for name, own in sweep_experiments(completed["ablation"]["sweeps"]).items():
        if known.setdefault(name, own) != own:
            raise InputError(f"experiments.{name} is also the name of an experiment of a sweep; choose another.")
    if taken := sorted(_FOLDERS & set(known)):
        raise InputError(
            f"experiments.{taken[0]}: results/<data set>/{taken[0]} holds shared files; choose another name."
        )
    for name in known:
        resolve(completed, name)
    for name in completed["ablation"]["experiments"] or ():
        if name not in known:
            raise InputError(f"ablation.experiments: {name!r} is not among experiments; declare it there.")
    if split_seed(completed["experiment"])[0] not in known:
        raise InputError(
            f"experiment: {completed['experiment']!r} is not among experiments ({', '.join(known)}); declare it there."
        )
    return completed


def resolve(config: dict, experiment: str) -> Settings:
    """Settings of one experiment: the configuration with the experiment's own keys laid over it.

    Args:
        config: a completed configuration.
        experiment: `<name>` or `<name>-seed<k>`, which sets `seed` to k.

    Raises:
        InputError: no such experiment, or a setting that is refused; see `complete`.
    """
    name, seed = split_seed(experiment)
    if name not in config["experiments"]:
        raise InputError(
            f"Experiment {name!r} is not declared under experiments; known: {', '.join(config['experiments'])}."
        )
    own, where = config["experiments"][name], f"experiments.{name}."
    _refuse_moved(own, where)
    shared = [key for key in own if key in Common.model_fields]
    if isinstance(own.get("ready"), dict) and "superpixels" in own["ready"]:
        shared.append("ready.superpixels")
    if shared:
        raise InputError(f"{where}{shared[0]} is common to all experiments; set it outside of them.")
    merged = merge(config, own)
    return _validated(merged if seed is None else {**merged, "seed": seed}, where)


def _over_preset(config: dict) -> dict:
    """A configuration laid over the preset that it names, and over what its key `weights` says of all networks."""
    name, dataset, word = config.get("preset"), config.get("dataset"), config.get("weights")
    kind = dataset.get("kind", "demo") if isinstance(dataset, dict) else "demo"
    # What is not known here, the types refuse.
    base = preset_settings(name, kind) if name in PRESETS and kind in list(KINDS) else {}
    if isinstance(word, str):
        base = merge(base, {network: {"weights": word} for network in ("classifier", "irn", "segmentation")})
        base = merge(base, {"classifier": {"cdr": {"weights": word}}})
    merged = merge(base, config)
    own = merged.get("classifier")
    if word == "warm_start" and isinstance(own, dict) and isinstance(own["cdr"], dict):  # which vgg19 has none of
        merged["classifier"] = {**own, "cdr": {"network": own.get("backbone", Classifier().backbone), **own["cdr"]}}
    return merged


def split_seed(experiment: str) -> tuple[str, int | None]:
    """`ssc-seed2` to ("ssc", 2); `ssc` to ("ssc", None)."""
    match = re.fullmatch(r"(.+)-seed([0-9]+)", experiment)
    return (match[1], int(match[2])) if match else (experiment, None)


def _validated(config: dict, where: str = "") -> Settings:
    """Settings of a configuration; `where` is put before the keys that are named in an error."""
    if "dataset" in config:
        config = {**config, "dataset": _dataset(config["dataset"])}
    settings = _read(Settings, config, where)
    _check_downloads(settings, where)
    _check_thresholds(settings, where)
    _check_networks(settings, where)
    _check_crops(settings, where)
    if settings.pseudo_labels.corrected and settings.ready.pseudo_labels:
        raise InputError(
            f"{where}pseudo_labels.corrected: no pseudo-label is made where ready.pseudo_labels names a folder; put "
            "the mended masks into that one."
        )
    return settings


# What is refused before the types are asked


def _refuse_odd_values(value: object, place: str = "") -> None:
    """Refuse what YAML can say and no setting means. `place` ends with a dot where it names a section."""
    where = place.rstrip(".")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):  # YAML 1.1 reads no, on and 2012 as other types
                raise InputError(f"The key {key!r}{f' under {where}' if where else ''} is no text; quote it.")
            _refuse_odd_values(item, f"{place}{key}.")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _refuse_odd_values(item, f"{place}{number}.")
    elif isinstance(value, str):
        if not value:
            raise InputError(f"{where} is empty; give it a value, or drop the line.")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
            raise InputError(f"{where}: {value!r} holds a line break or another control character; drop it.")
        if "{" in value or "}" in value:  # Snakemake would look for a wildcard
            raise InputError(f"{where}: {value!r} holds a curly bracket, which no name may; rename the file.")
    elif not isinstance(value, int | float | None):
        raise InputError(f"{where}: {value!r} is neither text nor a number; quote it.")


def _refuse_moved(config: dict, where: str = "") -> None:
    for old, new in MOVED.items():
        section, key = old.split(".")
        if isinstance(config.get(section), dict) and key in config[section]:
            raise InputError(f"{where}{old} is now {new}; rename the key.")


# What the types refuse


def _dataset(values: object) -> Dataset:
    """The section `dataset`, of the class of its kind.

    The Snakefile lays a configuration that names no kind over the demo's.
    """
    if not isinstance(values, dict):
        raise InputError(f"dataset: {values!r} {_PLAIN['dict_type']}.")
    names, kind = ", ".join(KINDS), values.get("kind", "demo")
    if kind not in list(KINDS):
        raise InputError(f"dataset.kind: {kind!r} is no kind of data set; take one of {names}.")
    for key in values:
        owners = [name for name, section in KINDS.items() if key in section.model_fields]
        if owners and kind not in owners:
            raise InputError(
                f"dataset.{key} is a key of kind {' and '.join(owners)}, not of {kind}; set dataset.kind (one of "
                f"{names}; demo where none is named), or drop the key."
            )
    if "kind" not in values:
        raise InputError(f"dataset.kind is missing; name one of {names}.")
    return _read(KINDS[kind], values, "dataset.")


def _read(section: type[Section], values: dict, where: str) -> Section:
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise InputError(_message(error.errors()[0], where)) from None


def _message(error: dict, where: str) -> str:
    """The message for one of Pydantic's errors."""
    kind, words, context = error["type"], error["msg"], error.get("ctx", {})
    path = [*error["loc"], *([context["key"]] if kind == "unknown_key" else [])]
    place = where + ".".join(str(part) for part in path if part not in _NO_KEYS)
    if error["input"] is None:
        return f"{place} is empty; give it a value, or drop the line."
    match kind:
        case "unknown_key":
            return f"unknown key {place!r}; {words}"
        case "missing":
            return f"{place} is missing; add it."
        case "value_error":
            return f"{place}: {context['error']}."
        case _:
            return f"{place}: {error['input']!r} {_PLAIN.get(kind) or re.sub('^[A-Z][a-z]+ ', '', words)}."


# What several keys must agree on


def _check_downloads(settings: Settings, where: str) -> None:
    dataset = settings.dataset
    not_published = {key for places in DOWNLOADS.values() for key in places} - set(DOWNLOADS.get(dataset.kind, ()))
    for key, value in dataset:
        if key in not_published and value == "download":
            raise InputError(f"dataset.{key}: there is no download of kind {dataset.kind}; name your folder or file.")
    if (
        dataset.kind == "voc"
        and dataset.root == "download"
        and dataset.test_root is None
        and settings.prediction.split == "test"
    ):
        raise InputError(
            f"{where}prediction.split: VOC's test photos are given out after a login only; fetch VOC2012test and name "
            "its folder under dataset.test_root."
        )


def _check_thresholds(settings: Settings, where: str) -> None:
    if not settings.seeds.has_auto() and settings.seeds.threshold not in settings.seeds.thresholds:
        raise InputError(f"{where}seeds.threshold: {settings.seeds.threshold} is not among thresholds; add it there.")


def _check_networks(settings: Settings, where: str) -> None:
    networks = {key: getattr(settings, key) for key in ("classifier", "irn", "segmentation")}
    weights = {key: (section.weights, section.backbone) for key, section in networks.items()}
    cdr = settings.classifier.cdr
    if cdr.enabled and cdr.loss == "perceptual":
        weights["classifier.cdr"] = (cdr.weights, cdr.network)
    for key, section in networks.items():
        # Of timm's networks their size estimate tells, which builds them.
        strides = NETWORKS[section.backbone].output_strides if section.backbone in NETWORKS else ()
        if strides and section.output_stride not in strides:
            raise InputError(
                f"{where}{key}.output_stride: {section.backbone} has {', '.join(map(str, strides))}, not "
                f"{section.output_stride}."
            )
    for key, (name, network) in weights.items():
        if name == "warm_start" and network == "vgg19":
            raise InputError(
                f"{where}{key}.weights: a warm start trains a backbone, and vgg19 is none; name a backbone as "
                f"{key}.network, or other weights."
            )
        if name == "imagenet" and network == "tiny":
            raise InputError(f"{where}{key}.weights: there are no ImageNet weights for tiny; use warm_start or none.")
        if name == "imagenet_v2" and network not in IMAGENET_V2:
            raise InputError(
                f"{where}{key}.weights: torchvision has no second weights of {network}, only of "
                f"{' and '.join(IMAGENET_V2)}; set it to imagenet."
            )


def _check_crops(settings: Settings, where: str) -> None:
    crop, stride = settings.classifier.crop, settings.classifier.output_stride
    if crop % stride:
        raise InputError(
            f"{where}classifier.crop: {crop} is no multiple of the output stride {stride}; take "
            f"{max(2, round(crop / stride)) * stride}."
        )
    if crop < 2 * stride:
        raise InputError(
            f"{where}classifier.crop: {crop} leaves one cell at output stride {stride}; take a larger one."
        )
    crop, least = settings.irn.crop, STRIDE * (2 * settings.irn.radius - 1)
    if crop < least:
        raise InputError(
            f"{where}irn.crop: {crop} is too small for radius {settings.irn.radius}; take {least} or more."
        )
