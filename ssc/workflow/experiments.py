"""Experiments: the sweeps that make some, and which of them share an artefact."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

# By stage: the sections of the configuration that its own work depends on, and the stages whose artefacts it reads.
_STAGES = {
    "classifier": (("classifier", "seed"), ()),
    "cams": (("cams",), ("classifier",)),
    "seeds": (("seeds",), ("cams",)),
    "irn_labels": (("irn_labels",), ("cams",)),
    "irn": (("irn", "seed"), ("irn_labels",)),
    "pseudo_labels": (("pseudo_labels",), ("cams", "irn")),
    "segmentation": (("segmentation", "seed"), ("pseudo_labels",)),
    "predictions": (("prediction",), ("segmentation",)),
}


def sweep_experiments(sweeps: Mapping[str, Mapping]) -> dict[str, dict]:
    """Experiments of sweeps over one key each.

    Args:
        sweeps: by name, the dotted `key` and its `values`.

    Returns:
        By name `<sweep>_<value>`, the settings in which the experiment differs.
    """
    experiments = {}
    for name, sweep in sweeps.items():
        for value in sweep["values"]:
            own = value
            for key in reversed(sweep["key"].split(".")):
                own = {key: own}
            experiments[sweep_name(name, value)] = own
    return experiments


def sweep_name(sweep: str, value: float) -> str:
    """Name of the experiment that a sweep makes for a value; no exponent, whose sign a name cannot hold."""
    return f"{sweep}_{Decimal(repr(float(value))).normalize():f}"


def decisive_settings(settings: Mapping, stage: str) -> dict:
    """The settings that a stage's artefacts depend on: its own and those of the stages that it reads.

    A section that names ready weights (`trained`) or a folder of ready files depends on nothing else.

    Args:
        settings: a resolved configuration.
        stage: `classifier`, `cams`, `seeds`, `irn_labels`, `irn`, `pseudo_labels`, `segmentation` or `predictions`.
    """
    sections, parents = _STAGES[stage]
    own = settings[sections[0]]
    if ready := own.get("trained") or own.get("folder"):
        return {stage: ready}
    decisive = {section: settings[section] for section in sections}
    for parent in parents:
        decisive |= decisive_settings(settings, parent)
    return decisive


def reported_stages(settings: Mapping) -> list[str]:
    """The stages whose results a run reports: those on the way to its predictions, and those that need no training
    beyond it because weights or files are ready.

    Args:
        settings: a resolved configuration.

    Returns:
        Of `seeds`, `pseudo_labels` and `predictions` those that are reported; the last always is.
    """
    trains = not settings["segmentation"]["trained"]
    ready_labels, ready_irn = settings["pseudo_labels"]["folder"], settings["irn"]["trained"]
    ready_cams = settings["cams"]["folder"] or settings["classifier"]["trained"]
    seeds = ready_cams or (trains and not ready_labels)
    labels = trains or ready_labels or (seeds and ready_irn)
    return [*(["seeds"] if seeds else []), *(["pseudo_labels"] if labels else []), "predictions"]


def made_stages(settings: Mapping) -> list[str]:
    """The stages that a run makes: those that it reports and those that these read, in the order of the road.

    A stage with ready weights is not made, nor what only it would read; a folder of ready files is taken over, which
    reads nothing of the run.

    Args:
        settings: a resolved configuration.
    """
    made, waiting = set(), reported_stages(settings)
    while waiting:
        stage = waiting.pop()
        sections, parents = _STAGES[stage]
        own = settings[sections[0]]
        if not own.get("trained"):
            made.add(stage)
            waiting += () if own.get("folder") else parents
    return [stage for stage in _STAGES if stage in made]


def owner(settings: Mapping, stage: str, names: Iterable[str], resolved: Callable[[str], Mapping]) -> str:
    """The experiment that makes a stage's artefacts for all experiments in which they are the same.

    Args:
        settings: resolved configuration of the experiment that needs them; it is among `names`, up to its seed.
        stage: see `decisive_settings`.
        names: experiments in the order of their declaration; the first that agrees is taken.
        resolved: from `<name>` or `<name>-seed<k>` to its resolved configuration.

    Returns:
        `<name>`, or `<name>-seed<k>` where the seed differs from that experiment's own.
    """
    wanted = decisive_settings(settings, stage)
    for name in names:
        seeded = with_seed(name, settings["seed"], resolved)
        if decisive_settings(resolved(seeded), stage) == wanted:
            return seeded
    raise ValueError("the experiment is not among the names")


def with_seed(name: str, seed: int, resolved: Callable[[str], Mapping]) -> str:
    """`<name>-seed<seed>`, or the bare name where that is its own seed."""
    return name if resolved(name)["seed"] == seed else f"{name}-seed{seed}"


def step_names(settings: dict) -> list[str]:
    """Names of the steps that the `prediction` section of a config enables, each on top of those before it.

    With all of them: single scale, multi-scale, multi-scale + flip, multi-scale + flip + CRF. The last step's result
    is the prediction.
    """
    names = ["single scale"]
    if len(settings["scales"]) > 1:
        names.append("multi-scale")
    if settings["flip"]:
        names.append(f"{names[-1]} + flip")
    if settings["crf"]["enabled"]:
        names.append(f"{names[-1]} + CRF")
    return names
