"""The graph of stages, told once: what each makes, where it lies, what it reads and which settings it depends on.

Rules, ownership between experiments, the lists of results and benchmark files, the disk estimate, Slurm's arrays, the
report's order and docs/stages.svg come from this table.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple


class Rule(NamedTuple):
    """A rule of a stage.

    Attributes:
        name: of the Snakemake rule.
        module: the module whose code its results depend on.
        outputs: by name, the files that it writes below the folder of the stage; `{split}` and `{shard}` make a job of
            each split and shard.
        split: photos that it goes through: `train`, `predicted` (the split to predict), `both`, `all`; None where their
            number does not decide on its time.
        masked: whether it passes over photos without ground truth.
    """

    name: str
    module: str
    outputs: Mapping[str, str]
    split: Literal["train", "predicted", "both", "all"] | None = "train"
    masked: bool = False

    @property
    def sharded(self) -> bool:
        """Whether it has a job for each shard."""
        return any("{shard}" in path for path in self.outputs.values())

    @property
    def benchmark(self) -> str:
        """What its benchmark files are called in the folder `benchmarks`, without their ending."""
        wildcards = [name for name in ("{split}", "{shard}") if any(name in path for path in self.outputs.values())]
        return "/".join([self.name, *wildcards])


class Stage(NamedTuple):
    """A stage of the road from photos to predictions.

    Attributes:
        title: of its rows in the tables of the report.
        rules: in the order in which they run.
        reads: stages whose results it reads.
        settings: keys of the configuration that its results depend on; the first, if any, is the section of its own.
        shared: its results lie in results/<data set>/, the same for all experiments, and not in an experiment's folder.
        ready: what the key `ready.<stage>` may name in place of its work: weights, a folder of files, or nothing.
        figures: the file that the report reads its mIoU from.
    """

    title: str
    rules: tuple[Rule, ...]
    reads: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    shared: bool = False
    ready: Literal["weights", "folder"] | None = None
    figures: str | None = None

    def outputs(self) -> Iterator[str]:
        """Paths of all files of the stage below its folder."""
        for rule in self.rules:
            yield from rule.outputs.values()


def _training(name: str, module: str) -> Rule:
    outputs = {"weights": f"{name}.safetensors", "losses": f"{name}_losses.tsv"}
    return Rule(f"train_{name}", module, outputs)


STAGES = {
    "data": Stage(
        title="data",
        shared=True,
        rules=(
            Rule("demo_data", "ssc.data.demo", {"folder": "data"}, split="all"),
            Rule("index", "ssc.stages.index", {"index": "index.tsv", "classes": "classes.txt"}, split="all"),
            Rule("masks", "ssc.stages.masks", {"archive": "masks/{split}/{shard}.zip"}, split="both", masked=True),
        ),
    ),
    "superpixels": Stage(
        title="superpixels",
        shared=True,
        reads=("data",),
        settings=("superpixels",),
        ready="folder",
        rules=(Rule("superpixels", "ssc.stages.superpixels", {"archive": "superpixels/{shard}.zip"}),),
    ),
    "warm_start": Stage(
        title="warm start",
        shared=True,
        reads=("data",),
        settings=("warm_start",),
        rules=(
            Rule(
                "warm_start",
                "ssc.training.classifier",
                {
                    "weights": "warm_start/{backbone}-stride{stride}-seed{seed}.safetensors",
                    "losses": "warm_start/{backbone}-stride{stride}-seed{seed}_losses.tsv",
                },
            ),
        ),
    ),
    "classifier": Stage(
        title="classifier",
        reads=("superpixels", "warm_start"),
        settings=("classifier", "seed"),
        ready="weights",
        rules=(_training("classifier", "ssc.training.classifier"),),
    ),
    "cams": Stage(
        title="seeds",
        reads=("superpixels", "classifier"),
        settings=("cams",),
        ready="folder",
        rules=(Rule("cams", "ssc.stages.cams", {"archive": "cams/{shard}.zip"}),),
    ),
    "cam_threshold": Stage(
        title="seeds",
        reads=("cams",),
        rules=(Rule("cam_threshold", "ssc.stages.cam_threshold", {"threshold": "cam_threshold.json"}),),
    ),
    "seeds": Stage(
        title="seeds",
        reads=("cams", "cam_threshold"),
        settings=("seeds",),
        figures="seeds.json",
        rules=(
            Rule("count_seeds", "ssc.stages.seeds", {"counts": "seeds/{shard}.json"}, masked=True),
            Rule(
                "evaluate_seeds",
                "ssc.stages.seeds",
                {"figures": "seeds.json", "regions": "seeds_regions.tsv"},
                split=None,
            ),
        ),
    ),
    "irn_labels": Stage(
        title="IRN labels",
        reads=("cams", "cam_threshold"),
        settings=("irn_labels",),
        rules=(Rule("irn_labels", "ssc.stages.irn_labels", {"archive": "irn_labels/{shard}.zip"}),),
    ),
    "irn": Stage(
        title="IRN",
        reads=("irn_labels", "warm_start"),
        settings=("irn", "seed"),
        ready="weights",
        rules=(_training("irn", "ssc.training.irn"),),
    ),
    "pseudo_labels": Stage(
        title="pseudo-labels",
        reads=("cams", "cam_threshold", "irn"),
        settings=("pseudo_labels",),
        ready="folder",
        figures="pseudo_labels.json",
        rules=(
            Rule(
                "random_walk",
                "ssc.stages.pseudo_labels",
                {"labels": "pseudo_labels/{shard}.zip", "confidence": "confidence/{shard}.zip"},
            ),
            Rule(
                "count_pseudo_labels",
                "ssc.stages.evaluate",
                {"counts": "pseudo_label_counts/{shard}.json"},
                masked=True,
            ),
            Rule(
                "evaluate_pseudo_labels",
                "ssc.stages.evaluate",
                {
                    "figures": "pseudo_labels.json",
                    "images": "pseudo_labels_images.tsv",
                    "regions": "pseudo_labels_regions.tsv",
                },
                split=None,
            ),
        ),
    ),
    "segmentation": Stage(
        title="segmentation",
        reads=("pseudo_labels", "warm_start"),
        settings=("segmentation", "seed"),
        ready="weights",
        rules=(_training("segmentation", "ssc.training.segmentation"),),
    ),
    "predictions": Stage(
        title="segmentation",
        reads=("segmentation",),
        settings=("prediction",),
        figures="segmentation.json",
        rules=(
            Rule(
                "predictions",
                "ssc.stages.predictions",
                {"labels": "predictions/{split}/{shard}.zip", "steps": "prediction_steps/{split}/{shard}.zip"},
                split="predicted",
            ),
            Rule(
                "count_predictions",
                "ssc.stages.evaluate",
                {"counts": "prediction_counts/{split}/{shard}.json"},
                split="predicted",
                masked=True,
            ),
            Rule(
                "evaluate_predictions",
                "ssc.stages.evaluate",
                {
                    "figures": "segmentation.json",
                    "images": "segmentation_images.tsv",
                    "regions": "segmentation_regions.tsv",
                },
                split=None,
            ),
        ),
    ),
    "cross_validation": Stage(
        title="classifier",
        reads=("superpixels", "warm_start"),
        settings=("classifier", "seed"),
        rules=(Rule("cross_validate", "ssc.stages.cross_validation", {"scores": "cross_validation.json"}),),
    ),
}
"""The stages by name, in the order of the road."""

RULES = {rule.name: rule for stage in STAGES.values() for rule in stage.rules}
"""All rules of the stages by name."""

TRAININGS = ("classifier", "irn", "segmentation")
"""The stages that train a network."""


def stage_of(rule: str) -> Stage:
    """The stage that a rule belongs to."""
    return next(stage for stage in STAGES.values() if RULES[rule] in stage.rules)


def sharded_rules() -> list[str]:
    """Rules with a job for each shard, which a cluster takes as arrays."""
    return [name for name, rule in RULES.items() if rule.sharded]
