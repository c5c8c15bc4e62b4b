"""The keys of the configuration: type, range, default and meaning of each; the one place where a default stands.

Defaults are the paper's settings on VOC 2012, or, where the paper is silent or differs, those of the authors' released
code (marked [R]) or what measured best; `ssc.workflow.presets` has what the paper and the release set besides.
config/schema.json and docs/config.md are generated from these classes, see `ssc.workflow.config`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from ssc.models.networks import NETWORKS, check_network
from ssc.workflow.section import Section


def _distinct(items: list) -> list:
    if len(set(items)) < len(items):
        raise ValueError("an entry stands there twice; drop one of the two")
    return items


def _ascending(items: list) -> list:
    if items != sorted(set(items)):
        raise ValueError("the values must ascend; sort them and drop repeats")
    return items


def _ordered(limits: list) -> list:
    if limits[0] > limits[1]:
        raise ValueError(f"{limits[0]} is above {limits[1]}; write the smaller one first")
    return limits


def _network(name: str) -> str:
    check_network(name)
    return name


def _output_stride(stride: int) -> int:
    if stride not in _STRIDES:
        raise ValueError(f"{stride} is none of {', '.join(map(str, _STRIDES))}")
    return stride


def _threshold(value: float | str) -> float | str:
    if value != "auto" and (isinstance(value, str) or not 0 <= value <= 1):
        raise ValueError(f"{value!r} is neither a number from 0 to 1 nor auto")
    return value


def _loss_network(name: str) -> str:
    return name if name == "vgg19" else _network(name)


Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[
    float | str,
    Field(union_mode="left_to_right"),
    AfterValidator(_threshold),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"const": "auto", "type": "string"}]}),
]
Momentum = Annotated[float, Field(ge=0, lt=1)]
ColourDeviation = Annotated[float, Field(ge=1)]  # below, the lattice of the CRF has no room
Scales = Annotated[list[Positive], Field(min_length=1)]
Range = Field(min_length=2, max_length=2), AfterValidator(_ordered)
Distinct = AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})
_NAMES = Field(json_schema_extra={"examples": [*NETWORKS, "tf_efficientnet_lite0", "convnext_tiny"]})
Backbone = Annotated[str, AfterValidator(_network), _NAMES]
LossNetwork = Annotated[str, AfterValidator(_loss_network), _NAMES]
_STRIDES = sorted({stride for network in NETWORKS.values() for stride in network.output_strides})
OutputStride = Annotated[int, AfterValidator(_output_stride), Field(json_schema_extra={"enum": _STRIDES})]
Weights = Annotated[
    str,
    Field(
        description="imagenet (torchvision's first, or timm's; of resources/weights, an installed package, or "
        "downloaded), imagenet_v2 (torchvision's second, of resnet50 and resnet101), none, warm_start, or a "
        "safetensors file."
    ),
]


class LossTerm(Section):
    """A term of the classifier's loss, see `ssc.losses.TERMS`; its key or property `weight` says how much it counts."""

    enabled: bool = Field(False, description="Use this loss.")
    start_epoch: Natural = Field(0, description="First epoch (from 0) with this loss.")
    ramp_epochs: Natural = Field(0, description="Epochs until the weight, which grows evenly, has its full value.")


class DRS(Section):
    """Discriminative region suppression."""

    enabled: bool = Field(True, description="Use DRS.")
    delta: Positive = Field(0.55, le=1, description="Upper bound as a fraction of a channel's maximum.")


class CDR(LossTerm):
    """CAM-driven reconstruction."""

    enabled: bool = Field(True, description="Use CDR.")
    alpha: Weight = Field(1.0, description="Weight of the reconstruction loss.")
    loss: Literal["perceptual", "l1", "l2"] = Field("perceptual", description="Reconstruction loss.")
    source: Literal["last", "early"] = Field(
        "last", description="Reconstruct from the class maps, or from what enters the last stage."
    )
    rectify: bool = Field(False, description="Reconstruct from relu(f), what the CAM shows, not from the maps f.")
    network: LossNetwork = Field("vgg19", description="Loss network of the perceptual loss: vgg19, or as a backbone.")
    weights: Weights = Field("imagenet", description="Of the loss network: imagenet, none, warm_start, or a file.")
    taps: Literal["relu1", "pool"] = Field(
        "relu1", description="vgg19: relu1_1 .. relu5_1 [R], or the last layer before each pooling."
    )
    stage_weights: list[Weight] = Field(
        [0.03125, 0.0625, 0.125, 0.25, 1.0],
        min_length=5,
        max_length=5,
        description="Weights of the loss network's five feature maps in the perceptual loss, first to last.",
    )
    range: Literal["normalised", "tanh"] = Field(
        "normalised",
        description="What the loss sees of the reconstruction: its output in -1..1 read as a colour and normalised "
        "like the photo, or as it is [R].",
    )
    width: int = Field(256, ge=16, description="Channels of the reconstruction net's first blocks.")
    gamma: Literal["one", "uniform"] = Field(
        "one", description="Initial scales of the reconstruction net's layer norms: 1, or uniform in 0..1 [R]."
    )
    lr: Positive = Field(0.0005, description="Initial learning rate of Adam for the reconstruction net.")

    @property
    def weight(self) -> float:
        return self.alpha


class ASM(LossTerm):
    """Activation self-modulation."""

    enabled: bool = Field(True, description="Use ASM.")
    beta: Weight = Field(1.0, description="Weight of the alignment loss.")
    threshold: Share = Field(0.3, description="Activation above which a pixel may be reliable.")
    erosion: Count = Field(8, description="Side of the square that erodes the reliable mask.")
    reliable: bool = Field(True, description="Reliable activation selection (RAS).")
    start_epoch: Natural = Field(2, description="First epoch (from 0) with this loss [R].")
    detach_maximum: bool = Field(False, description="No gradient through the maximum that normalises the CAM.")

    @property
    def weight(self) -> float:
        return self.beta


class Superpixels(Section):
    """Felzenszwalb segmentation, merged by selective-search similarity."""

    max_regions: int = Field(64, ge=1, le=65535, description="Regions per photo at most.")
    scale: Positive = Field(50.0, description="Felzenszwalb: larger means larger regions.")
    sigma: Positive = Field(0.8, description="Felzenszwalb: Gaussian smoothing in pixels.")
    min_size: Count | None = Field(
        None, description="Least region in pixels; null: a tenth of the mean of max_regions."
    )


class Masks(Section):
    """Ground truth that is painted from the instances of a COCO JSON."""

    overlaps: Literal["smallest_on_top", "last_on_top"] = Field(
        "smallest_on_top", description="Which instance covers another: the smaller, or the later in the file [R]."
    )
    crowds: Literal["ignore", "background"] = Field(
        "ignore", description="Crowd regions: ignored (255) where no instance covers them, or background [R]."
    )


class WarmStart(Section):
    """Classification-only training of a backbone from random weights.

    It stands in for ImageNet weights where `weights: warm_start` is. All experiments of a seed share it, and all
    networks with the classifier's backbone.
    """

    epochs: Count = Field(15, description="Passes over the training set.")
    batch_size: Count = Field(16, description="Photos per step.")
    lr: Positive = Field(0.1, description="Initial learning rate of backbone and head.")
    momentum: Momentum = Field(0.9, description="SGD momentum.")
    weight_decay: Weight = Field(0.0005, description="Weight decay.")


class Classifier(Section):
    """The CAM network and its training (paper section III)."""

    backbone: Backbone = Field("resnet50", description="Network: one of ours, or any of timm's.")
    weights: Weights = "imagenet"
    output_stride: OutputStride = Field(16, description="Stride of the CAM features; 4 with `tiny` only.")
    epochs: Count = Field(10, description="Passes over the training set.")
    batch_size: Count = Field(6, description="Photos per step.")
    resize_long: Annotated[list[Annotated[int, Field(ge=16)]], *Range] = Field(
        [320, 640], description="Range of the long side in pixels."
    )
    crop: int = Field(
        512, ge=32, description="Side of the training window, zero padded; a multiple of the output stride."
    )
    lr: Positive = Field(0.1, description="Initial learning rate of the backbone; polynomial decay of power 0.9 [R].")
    head_lr: Positive = Field(1.0, description="Initial learning rate of the 1x1 classifier [R].")
    momentum: Momentum = Field(
        0.0001,
        description="SGD momentum. The paper says 0.9; the released optimiser has in effect 1e-4 [R], and with lr 0.1 "
        "the paper's value may diverge.",
    )
    weight_decay: Weight = Field(0.0001, description="Weight decay.")
    stop_gradient_after: int = Field(
        2, ge=0, le=3, description="Residual stages up to this are not trained [R]; 0: all are."
    )
    freeze_norm: bool = Field(True, description="Batch norms keep their running statistics [R].")
    drs: DRS = DRS()
    cdr: CDR = CDR()
    asm: ASM = ASM()


class CAMs(Section):
    """Extraction of class activation maps."""

    scales: Scales = Field([1.0, 0.5, 1.5, 2.0], description="Scales of the photo; each is used with its mirror image.")
    drs: bool = Field(True, description="Keep DRS in the last stage [R]; no effect on a classifier trained without it.")
    refine: Literal["none", "superpixels"] = Field("none", description="Average the CAMs over superpixels: a control.")
    stride: Literal[4, 1] = Field(
        4,
        description="Map that seeds and IRN labels are made of: the walk's at stride 4, enlarged, or the sum over "
        "scales at the photo's size [R].",
    )
    dtype: Literal["float16", "float32"] = Field("float16", description="Type in which CAMs are stored; float32 [R].")


class Seeds(Section):
    """Evaluation of the CAMs as seeds."""

    thresholds: Annotated[list[Share], AfterValidator(_ascending)] = Field(
        [round(0.05 * step, 2) for step in range(1, 20)],
        min_length=1,
        description="Background thresholds of the sweep, ascending.",
    )
    threshold: Threshold = Field(
        0.2,
        description="The background threshold that is reported beside the best; auto: that of the sweep nearest "
        "to the CAMs' own, found without masks.",
    )


class CRF(Section):
    """A dense CRF with a smoothness and an appearance kernel."""

    iterations: Count = Field(10, description="Mean-field iterations.")
    gaussian_sxy: Positive = Field(3.0, description="Position standard deviation of the smoothness kernel in pixels.")
    gaussian_weight: Weight = Field(3.0, description="Weight of the smoothness kernel.")
    bilateral_sxy: Positive = Field(50.0, description="Position standard deviation of the appearance kernel in pixels.")
    bilateral_srgb: ColourDeviation = Field(
        5.0, description="Colour standard deviation of the appearance kernel, in grey levels."
    )
    bilateral_weight: Weight = Field(10.0, description="Weight of the appearance kernel.")

    def options(self) -> dict:
        """Keyword arguments of `ssc.crf`."""
        return {
            "iterations": self.iterations,
            "gaussian": (self.gaussian_sxy, self.gaussian_weight),
            "bilateral": (self.bilateral_sxy, self.bilateral_srgb, self.bilateral_weight),
        }


class LabelCRF(CRF):
    """Dense CRF."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.7, description="Probability of the given label.")


class IRNLabels(Section):
    """Confident labels for IRN from two dense-CRF passes."""

    foreground_threshold: Threshold = Field(
        0.3,
        description="Background threshold of the pass for certain foreground; auto: 1.5 times the CAMs' own.",
    )
    background_threshold: Threshold = Field(
        0.1,
        description="Background threshold of the pass for certain background; auto: half the CAMs' own.",
    )
    crf: LabelCRF = LabelCRF()


class IRN(Section):
    """The class-boundary and displacement network."""

    backbone: Backbone = Field("resnet50", description="Network; its features stay frozen.")
    weights: Weights = "imagenet"
    output_stride: OutputStride = Field(16, description="Stride of the deepest features.")
    epochs: Count = Field(3, description="Passes over the training set.")
    batch_size: Count = Field(16, description="Photos per step.")
    scale: Annotated[list[Positive], *Range] = Field([0.5, 1.5], description="Range of the random scale.")
    crop: int = Field(512, ge=32, multiple_of=4, description="Side of the training window.")
    radius: int = Field(10, ge=2, description="Pairs of pixels closer than this are compared (pixels at stride 4).")
    lr: Positive = Field(0.1, description="Initial learning rate of the edge head.")
    displacement_lr: Positive | None = Field(
        1.0,
        description="Initial learning rate of the displacement head; null: none is trained. It is for instances: "
        "pseudo-labels are the same without.",
    )
    momentum: Momentum = Field(0.0001, description="SGD momentum; in effect 1e-4, as for the classifier [R].")
    weight_decay: Weight = Field(0.0001, description="Weight decay.")


class PseudoLabels(Section):
    """Pseudo-labels of the CAMs: by a random walk over the class-boundary map of IRN, or without."""

    method: Literal["irn", "crf", "none"] = Field(
        "irn",
        description="What is made of the CAMs: IRN's random walk, for which it is trained, a dense CRF of their labels "
        "at `threshold`, or these labels as they are.",
    )
    scale: Positive = Field(
        1.0, description="Factor of the photo's size at which the walk runs; above 1 for small photos."
    )
    radius: int = Field(5, ge=2, description="Steps reach pixels closer than this (pixels at stride 4).")
    beta: Positive = Field(10.0, description="Exponent of the affinities.")
    exp_times: int = Field(8, ge=0, le=12, description="The walk takes 2^this steps.")
    pad: Count | None = Field(
        None,
        description="Side of the square to which the photo is padded with zeros before edges are found, whose group "
        "norms see the padding [R: 512 on VOC, none on COCO]; a longer side stays. null: no padding.",
    )
    mirror: Literal["probability", "logit"] = Field(
        "probability", description="What edges are averaged as, over the photo and its mirror image; logit [R]."
    )
    divide: Literal["before", "after"] = Field(
        "before",
        description="When the scores are divided by their maximum: before they are enlarged to the photo, or after "
        "it [R].",
    )
    threshold: Threshold = Field(
        0.25,
        description="Background threshold of the scores after the walk, auto: 1.25 times the CAMs' own; with crf and "
        "none of the CAMs, auto: their own.",
    )
    crf: LabelCRF = LabelCRF()
    keep: Positive = Field(0.5, le=1, description="Share of each predicted class that the confidence mask keeps.")
    rounding: Literal["up", "down"] = Field(
        "up", description="How that number of pixels is rounded: up, and ties at the border are kept, or down [R]."
    )
    unlabelled: Literal["all", "half"] = Field(
        "all", description="Confident pixels of a photo without labels: all, or a random half [R on COCO]."
    )
    corrected: str | None = Field(
        None,
        description="Folder of label maps <id>.png that you have mended; they stand for the automatic ones, and all "
        "their pixels but those of 255 are confident. docs/exporting.md says how they come about.",
    )

    def decisive(self) -> dict:
        """The keys of the method; the default does not say its name, so that the others change no earlier result."""
        walk = {"scale", "radius", "beta", "exp_times", "pad", "mirror", "divide"}
        without = {"irn": {"method", "crf"}, "crf": walk, "none": {*walk, "crf"}}[self.method]
        return {key: value for key, value in super().decisive().items() if key not in without}


class Cotraining(Section):
    """Co-training (BECO, CVPR 2023).

    Confident pixels teach their labels, on the others each network learns what the other predicts.
    """

    warm_up: Natural = Field(
        1, description="First epochs, in which images are mixed by their pseudo-labels: BECO's; 2 [R]."
    )
    mix_probability: Share = Field(
        0.5, description="Probability that half of another image's classes are pasted onto one [R]."
    )
    boundary_size: Count = Field(
        1, description="A pasted region's boundary reaches this many pixels to either side [R]."
    )
    boundary_weight: Weight = Field(0.2, description="Confident pixels of the boundary weigh 1 + this [R].")
    online_confidence: Share = Field(
        0.95, description="Probability above which a pixel of a mixed image is confident [R]."
    )


class Segmentation(Section):
    """DeepLabV2 and its training on the pseudo-labels."""

    backbone: Backbone = Field("resnet101", description="Network: one of ours, or any of timm's.")
    weights: Weights = "imagenet"
    output_stride: OutputStride = Field(8, description="Stride of the logits: 8 [R], 16 in the paper.")
    rates: list[Count] = Field([6, 12, 18, 24], min_length=1, description="Dilations of the pyramid's branches.")
    confidence_mask: bool = Field(False, description="Plain training on confident pixels only; co-training always is.")
    training: Literal["plain", "cotraining"] = Field(
        "plain", description="One network, or BECO's two, as the authors trained."
    )
    cotraining: Cotraining = Cotraining()
    epochs: Count = Field(80, description="Passes over the training set (80 VOC, 40 COCO).")
    batch_size: Count = Field(16, description="Photos per step.")
    select_on_val: bool = Field(
        False,
        description="Keep the epoch with the best mIoU on the validation masks [R], and not the last: the figures on "
        "val are then no longer those of a method that has not seen its masks.",
    )
    crop: int = Field(512, ge=32, description="Side of the training window.")
    windows: Literal["scaled", "resized"] = Field(
        "scaled",
        description="Training windows: of a photo resized by one of `scales`, padded where it is smaller, or a part of "
        "the photo with a random area and aspect, resized to the window [R].",
    )
    scales: Scales = Field([0.5, 0.75, 1.0, 1.5, 1.75, 2.0], description="Random scales of scaled windows.")
    area: Annotated[list[Annotated[float, Field(gt=0, le=1)]], *Range] = Field(
        [0.5, 0.75], description="Range of a resized window's share of the photo [R]."
    )
    aspect: Annotated[list[Positive], *Range] = Field(
        [0.75, 4 / 3], description="Range of a resized window's width over its height [R]."
    )
    colours: bool = Field(
        False, description="Random brightness, contrast, hue, saturation, grey and blur, after any mixing [R]."
    )
    lr: Positive = Field(0.01, description="Initial learning rate of the backbone; polynomial decay of power 0.9.")
    head_lr: Positive = Field(0.01, description="Initial learning rate of the pyramid.")
    min_lr: Weight = Field(1e-5, description="Floor of the learning rates.")
    momentum: Momentum = Field(0.9, description="SGD momentum.")
    weight_decay: Weight = Field(0.0001, description="Weight decay.")
    freeze_norm: bool = Field(False, description="Batch norms keep their running statistics.")

    def uses_confidence(self) -> bool:
        """Whether the training looks at the confidence masks."""
        return self.confidence_mask or self.training == "cotraining"


class PredictionCRF(CRF):
    """Dense CRF after the network."""

    enabled: bool = Field(True, description="Use the CRF.")
    gaussian_sxy: Positive = Field(1.0, description="Position standard deviation of the smoothness kernel in pixels.")
    bilateral_sxy: Positive = Field(67.0, description="Position standard deviation of the appearance kernel in pixels.")
    bilateral_srgb: ColourDeviation = Field(
        3.0, description="Colour standard deviation of the appearance kernel, in grey levels."
    )
    bilateral_weight: Weight = Field(4.0, description="Weight of the appearance kernel.")
    colours: Literal["photo", "wrapped"] = Field(
        "photo",
        description="Colours that the appearance kernel sees: the photo's, or these less the mean, cut to whole "
        "numbers modulo 256 [R].",
    )


class Prediction(Section):
    """Inference of the segmentation network."""

    split: Literal["train", "val", "test"] = Field(
        "val", description="Images to predict; they are evaluated where they have masks."
    )
    scales: Scales = Field([0.5, 0.75, 1.0, 1.25, 1.5], description="Test scales.")
    flip: bool = Field(True, description="Mirror images take part in the fusion; none do [R].")
    square: Count | None = Field(
        None,
        description="Side of the square to which a photo is resized first, scales being taken of that [R: 512]; null: "
        "its own size.",
    )
    fuse: Literal["mean_probability", "max_logit"] = Field(
        "mean_probability",
        description="How views become one: the mean of their probabilities at the photo's size, or the largest of "
        "their logits at the network's stride [R].",
    )
    crf: PredictionCRF = PredictionCRF()

    def steps(self) -> list[str]:
        """Names of the test-time steps, each on top of those before it; the last one's result is the prediction.

        All of them are: single scale, multi-scale, multi-scale + flip, multi-scale + flip + CRF.
        """
        names = ["single scale"]
        if len(self.scales) > 1:
            names.append("multi-scale")
        if self.flip:
            names.append(f"{names[-1]} + flip")
        if self.crf.enabled:
            names.append(f"{names[-1]} + CRF")
        return names


class Report(Section):
    """Pictures of the report."""

    panels: int = Field(8, ge=1, le=64, description="Sample images per split.")


class Ready(Section):
    """Results of others, or of another run, that stand for a stage of this one: what is named here is not made.

    docs/importing.md says what a file or folder holds.
    """

    superpixels: str | None = Field(
        None, description="Folder of <id>.png, label = R + 256 G + 65536 B; for all experiments."
    )
    classifier: str | None = Field(
        None, description="Weights of `ssc import-weights` or another run; CAMs are made with them."
    )
    cams: str | None = Field(None, description="Folder of <id>.npz for every training image.")
    irn: str | None = Field(None, description="Weights, likewise; the random walk runs on them.")
    pseudo_labels: str | None = Field(None, description="Folder of <id>.png, labels 0..C, 255 where there is none.")
    segmentation: str | None = Field(None, description="Weights, likewise; photos are predicted with them.")


class Sweep(Section):
    """A sweep over one setting of the method; each value makes an experiment <sweep>_<value>."""

    key: str = Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$", description="Dotted name of the setting.")
    values: Annotated[list[Weight], *Distinct] = Field(min_length=1, description="Its values.")


class Ablation(Section):
    """What `snakemake ablation` compares."""

    seeds: Annotated[list[Natural], *Distinct] = Field(
        [0, 1, 2], min_length=1, description="Seeds over which each experiment is run."
    )
    experiments: Annotated[list[str], *Distinct] | None = Field(
        None,
        description="Experiments of the table, in its order; null takes all that are declared and differ in their "
        "seeds.",
    )
    until: Literal["seeds", "pseudo_labels", "segmentation"] = Field(
        "seeds", description="The last stage of which the table has the mIoU; pseudo_labels and segmentation train on."
    )
    sweeps: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")], Sweep] = Field(
        {}, description="Sweeps, as Fig. 7: by name, the key and its values."
    )


class Dataset(Section):
    """Where the photos and their labels are."""

    aside: ClassVar = frozenset({"mirror", "max_pixels", "check_space"})
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Folder of the results, results/<name>/.")
    max_pixels: int = Field(
        80_000_000,
        ge=1024,
        le=178_956_970,
        description="Pixels of a photo at most; a larger one is refused before it is decoded.",
    )
    check_space: bool = Field(True, description="Refuse to start where the disk has less room than the estimate.")


_KIND = Field(description="What data set it is.")
_MIRROR = Field(
    None,
    description="Address (https:// or file://) of a folder with the archives to download, under their makers' names; "
    "null takes their makers'.",
)


class Demo(Dataset):
    """Generated scenes."""

    kind: Literal["demo"] = _KIND
    train: int = Field(500, ge=2, description="Training scenes.")
    val: Count = Field(200, description="Validation scenes.")
    size: int = Field(96, ge=32, description="Side of a scene in pixels.")
    seed: Natural = Field(0, description="Seed of the generator.")


class Voc(Dataset):
    """PASCAL VOC 2012, with SBD or without."""

    kind: Literal["voc"] = _KIND
    root: str = Field(description="Folder that holds VOCdevkit, or `download`.")
    sbd: str | None = Field(
        None, description="Folder of SBD (holds dataset/), or `download`; null: VOC's training set alone."
    )
    test_root: str | None = Field(
        None,
        description="Folder that holds the VOCdevkit of VOC2012test, which its server gives out after a login; null "
        "takes the test photos from root where they are.",
    )
    mirror: str | None = _MIRROR


class Coco(Dataset):
    """COCO 2014, or other data with an instances JSON."""

    kind: Literal["coco"] = _KIND
    train_images: str = Field(description="Folder of the training photos, or `download`.")
    train_instances: str = Field(description="Instances JSON of the training photos, or `download`.")
    val_images: str | None = Field(None, description="Folder of the validation photos, or `download`.")
    val_instances: str | None = Field(None, description="Instances JSON of the validation photos, or `download`.")
    mirror: str | None = _MIRROR


class Folder(Dataset):
    """Your own photos with a table of labels."""

    kind: Literal["folder"] = _KIND
    root: str = Field(description="Folder that holds the labels table.")
    images: str = Field("images", description="Folder of the photos, below root.")
    labels: str = Field(
        "labels.csv", description="Table: image, labels (separated by ';', ',' or '|'), optionally split."
    )
    masks: str | None = Field(None, description="Folder of masks <id>.png, below root; used for evaluation only.")
    classes: str | None = Field(
        None, description="Class names, one per line, below root; null: classes.txt, or the table's."
    )
    max_side: int | None = Field(
        None,
        ge=32,
        description="Longer side, in pixels, to which larger photos are shrunk, with their masks; null leaves them.",
    )


KINDS: dict[str, type[Dataset]] = {"demo": Demo, "voc": Voc, "coco": Coco, "folder": Folder}


class Common(Section):
    """What all experiments of a data set share."""

    aside: ClassVar = frozenset(
        {"preset", "weights", "experiment", "experiments", "cross_validation"}
        | {"memory", "compile", "workers", "log", "ablation", "report"}
    )
    preset: Literal["released", "paper", "laptop"] | None = Field(
        None,
        description="Settings that stand in for the defaults: those of the authors' released code, stage by stage, "
        "of the paper (docs/method.md), or, for a computer without a GPU, small networks without DRS, CDR and ASM; "
        "null: what measured best. Keys that the configuration names stand above it.",
    )
    weights: Literal["imagenet", "warm_start", "none"] | None = Field(
        None, description="What all networks start from that say nothing of their own, the loss network among them."
    )
    dataset: Demo | Voc | Coco | Folder = Field(
        description="Where the photos and their labels are; its kind says which keys there are."
    )
    experiment: str = Field(
        "ssc",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*(-seed[0-9]+)?$",
        description="The experiment that `snakemake` runs; one of `experiments`, optionally with a seed of its own as "
        "<name>-seed<k>.",
    )
    experiments: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")], dict] = Field(
        {"ssc": {}},
        description="Experiments by name, each with the settings in which it differs from the rest of this file.",
    )
    cross_validation: bool = Field(
        True,
        description="Of your own photos, where none of val has labels: train a classifier on each half of the training "
        "photos and test it on the other half, so that the verdict knows how it does on new photos; together the two "
        "take as long as the run's own. Only where that starts from imagenet, imagenet_v2 or none.",
    )
    shards: Annotated[int, Field(ge=1, le=10000)] | Literal["auto"] = Field(
        "auto",
        description="Parts of a per-image stage, one job and one archive each; auto, by which the workflow puts a "
        "number: as many as the results have, else one for 64 photos of your own, 16 at most.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$",
        description="cpu, cuda, cuda:<number>, or auto, which takes CUDA where there is one.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of the networks' forward pass; auto: bf16 on CUDA, fp32 on the CPU."
    )
    memory: Literal["fast", "lean"] = Field(
        "fast",
        description="lean: the classifier's training computes the reconstruction net's activations again in the "
        "backward pass instead of keeping them; half of the memory, a twentieth more time, results equal up to "
        "rounding.",
    )
    compile: bool = Field(
        False,
        description="Trainings run the networks through torch.compile, which takes minutes to start and needs a C++ "
        "compiler; results equal up to rounding.",
    )
    threads: Count | None = Field(
        None,
        description="Threads of a training on the CPU, where rounding, and with it the bytes of the result, depends on "
        "their number. null takes those that the job gets, so that results depend on --cores.",
    )
    workers: Natural = Field(4, description="Loader processes of a training job; results do not depend on it.")
    log: Literal["table", "tensorboard"] = Field(
        "table",
        description="Where trainings write their losses, step by step: <stage>_losses.tsv (with .checkpoint behind "
        "it until they end), or event files of TensorBoard as well (needs the extra `tensorboard`).",
    )
    masks: Masks = Masks()
    superpixels: Superpixels = Superpixels()
    warm_start: WarmStart = WarmStart()
    ablation: Ablation = Ablation()
    report: Report = Report()


class Experiment(Section):
    """What an experiment may set of its own."""

    seed: Natural = Field(0, description="Seed of all trainings.")
    classifier: Classifier = Classifier()
    cams: CAMs = CAMs()
    seeds: Seeds = Seeds()
    irn_labels: IRNLabels = IRNLabels()
    irn: IRN = IRN()
    pseudo_labels: PseudoLabels = PseudoLabels()
    segmentation: Segmentation = Segmentation()
    prediction: Prediction = Prediction()
    ready: Ready = Ready()


class Settings(Experiment, Common):
    """The settings of one experiment: all keys of the configuration."""


def warm_start_settings(settings: Settings, *, backbone: str, output_stride: int) -> Classifier:
    """Classifier settings of the warm start: classification only, from random weights, batch norms trained.

    They depend on nothing but the arguments, the section `warm_start`, and the classifier's window, so that a change of
    the method's settings does not train the shared start again.
    """
    own = settings.warm_start
    return Classifier(
        **own.model_dump(),
        head_lr=own.lr,
        backbone=backbone,
        output_stride=output_stride,
        resize_long=settings.classifier.resize_long,
        crop=settings.classifier.crop,
        stop_gradient_after=0,
        freeze_norm=False,
        drs=DRS(enabled=False),
        **{key: {"enabled": False} for key in loss_terms()},
    )


def loss_terms() -> list[str]:
    """Keys of the section `classifier` that are terms of its loss."""
    kinds = {key: field.annotation for key, field in Classifier.model_fields.items()}
    return [key for key, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, LossTerm)]
