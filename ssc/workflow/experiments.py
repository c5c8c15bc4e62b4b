"""Experiments: the sweeps that make some, what a run of one makes, and which of them share a result."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path

from ssc.data.index import SPLITS
from ssc.models.networks import NETWORKS
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import STAGES, TRAININGS, Rule

_THRESHOLDED = {name for name, stage in STAGES.items() if "cam_threshold" in stage.reads}


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


def ready(settings: Settings, stage: str) -> str | None:
    """The weights or the folder that stand for a stage, where the configuration names any."""
    return getattr(settings.ready, stage) if STAGES[stage].ready else None


def reads(settings: Settings, stage: str) -> tuple[str, ...]:
    """The stages whose results a stage reads in a run: those of the table, but no IRN for labels that need none."""
    without = {"irn"} if stage == "pseudo_labels" and settings.pseudo_labels.method != "irn" else set()
    return tuple(source for source in STAGES[stage].reads if source not in without)


def ready_form(settings: Settings) -> dict:
    """The settings that say in which form ready CAMs are stored."""
    return settings.cams.model_dump(include={"stride", "dtype"})


def decisive_settings(settings: Settings, stage: str) -> dict:
    """The settings that a stage's results in an experiment's folder depend on: its own and those of the stages that it
    reads. One that stands ready depends on nothing else, but for the form that CAMs are stored in."""
    if given := ready(settings, stage):
        return {stage: given, **(ready_form(settings) if stage == "cams" else {})}
    decisive = {}
    for key in STAGES[stage].settings:
        value = getattr(settings, key)
        decisive[key] = value if key == "seed" else value.decisive()
    for source in reads(settings, stage):
        if not STAGES[source].shared:
            decisive |= decisive_settings(settings, source)
    return decisive


def reported_stages(settings: Settings) -> list[str]:
    """The stages whose mIoU a run reports: those on the way to its predictions, which always are, and those that
    need no training beyond it because weights or files are ready."""
    given = settings.ready
    trains = not given.segmentation
    seeds = bool(given.cams or given.classifier) or (trains and not given.pseudo_labels)
    walks = "irn" in reads(settings, "pseudo_labels")
    labels = trains or bool(given.pseudo_labels) or bool(seeds and (given.irn or not walks))
    return [*(["seeds"] if seeds else []), *(["pseudo_labels"] if labels else []), "predictions"]


def made_stages(settings: Settings) -> list[str]:
    """The stages that a run makes: those that it reports and those that these read, in the order of the road.

    A stage with ready weights is not made, nor what only it would read; a folder of ready files is read into archives,
    which needs nothing else of the run.
    """
    made, waiting = set(), reported_stages(settings)
    while waiting:
        stage = waiting.pop()
        given = ready(settings, stage)
        if not (given and STAGES[stage].ready == "weights"):
            made.add(stage)
            waiting += () if given else reads(settings, stage)
    uses_superpixels = ("classifier" in made and settings.classifier.asm.enabled) or (
        "cams" in made and refines_cams(settings)
    )
    made |= {"cross_validation"} if cross_validates(settings) and "classifier" in made else set()
    unused = {
        "superpixels": not uses_superpixels,
        "cam_threshold": not any(getattr(settings, stage).has_auto() for stage in made & _THRESHOLDED),
        "warm_start": not any("warm_start" in start_weights(settings).get(stage, ()) for stage in made),
    }
    return [stage for stage in STAGES if stage == "data" or (stage in made and not unused.get(stage))]


def uses(settings: Settings, stage: str) -> bool:
    """Whether a stage that the run makes reads the results of another."""
    return any(stage in reads(settings, name) and not ready(settings, name) for name in made_stages(settings))


def photo_splits(settings: Settings, rule: Rule) -> list[str]:
    """The splits whose photos the jobs of a rule go through in a run."""
    made = made_stages(settings)
    measured = ["train"] if {"seeds", "pseudo_labels"} & set(made) else []
    measured += ["val"] if selects_on_val(settings) else []
    splits = {
        "train": ["train"],
        "predicted": [settings.prediction.split],
        "both": sorted({*measured, settings.prediction.split}),
        "all": list(SPLITS),
    }
    return splits.get(rule.split, [])


def selects_on_val(settings: Settings) -> bool:
    """Whether validation masks select the epoch of the segmentation's training."""
    return settings.segmentation.select_on_val and not settings.ready.segmentation


def cross_validates(settings: Settings) -> bool:
    """Whether the classifier is tried on photos that it was not trained on, if those of val have no labels.

    Not where it starts from a warm start or a file: these may have seen the labels of all photos.
    """
    unseen = {"imagenet", "imagenet_v2", "none"}
    own = settings.cross_validation and settings.dataset.kind == "folder"
    return own and unseen.issuperset(start_weights(settings)["classifier"])


def refines_cams(settings: Settings) -> bool:
    """Whether CAMs are averaged over superpixels."""
    return settings.cams.refine == "superpixels" and not settings.ready.cams


def start_weights(settings: Settings) -> dict[str, list[str]]:
    """By training, the weights that it starts from, those of the loss network among them, as the configuration has
    them: a file, `imagenet`, `imagenet_v2`, `none` or `warm_start`."""
    starts = {stage: [getattr(settings, stage).weights] for stage in TRAININGS}
    if uses_loss_network(settings):
        starts["classifier"].append(settings.classifier.cdr.weights)
    return starts


def uses_loss_network(settings: Settings) -> bool:
    """Whether the classifier's training compares feature maps of a loss network."""
    return settings.classifier.cdr.enabled and settings.classifier.cdr.loss == "perceptual"


def foreign_networks(settings: Settings) -> set[str]:
    """Networks of timm's that a run trains or compares maps of, which may turn out unfit when they are built."""
    names = {getattr(settings, stage).backbone for stage in TRAININGS if not ready(settings, stage)}
    names |= {settings.classifier.cdr.network} if uses_loss_network(settings) else set()
    return names - {*NETWORKS, "vgg19"}


def owner(settings: Settings, stage: str, names: Iterable[str], resolved: Callable[[str], Settings]) -> str:
    """The experiment that makes a stage's results for all experiments in which they are the same.

    Args:
        settings: of the experiment that needs them; it is among `names`, up to its seed.
        stage: one whose results lie in an experiment's folder.
        names: experiments in the order of their declaration; the first that agrees is taken.
        resolved: from `<name>` or `<name>-seed<k>` to its settings.

    Returns:
        `<name>`, or `<name>-seed<k>` where the seed differs from that experiment's own.
    """
    wanted = decisive_settings(settings, stage)
    for name in names:
        seeded = with_seed(name, settings.seed, resolved)
        if decisive_settings(resolved(seeded), stage) == wanted:
            return seeded
    raise ValueError("the experiment is not among the names")


def with_seed(name: str, seed: int, resolved: Callable[[str], Settings]) -> str:
    """`<name>-seed<seed>`, or the bare name where that is its own seed."""
    return name if resolved(name).seed == seed else f"{name}-seed{seed}"


def missing_weights(settings: Settings) -> tuple[str, str] | None:
    """Key and path of the first file of weights that the configuration names and that does not exist."""
    named = {f"{stage}.weights": getattr(settings, stage).weights for stage in TRAININGS}
    named["classifier.cdr.weights"] = settings.classifier.cdr.weights
    named |= {f"ready.{stage}": getattr(settings.ready, stage) for stage in TRAININGS}
    words = (None, "none", "imagenet", "imagenet_v2", "warm_start")
    return next(((key, file) for key, file in named.items() if file not in words and not Path(file).exists()), None)
