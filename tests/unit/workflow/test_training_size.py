"""The size of the trainings: networks that were measured once, and real steps on the CPU."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from ssc.affinity import irn_losses
from ssc.losses import ClassifierStep, PerceptualLoss, classifier_losses, masked_cross_entropy
from ssc.models import IRN, CAMClassifier, DeepLabV2, ReconstructionNet
from ssc.models.perceptual import loss_network
from ssc.models.size import count_flops, peak_bytes, saved_bytes
from ssc.runtime.errors import InputError
from ssc.workflow import training_size
from ssc.workflow.settings import Settings
from ssc.workflow.training_size import measure_networks

STAGES = ("classifier", "irn", "segmentation")
SIDE, BATCH, CLASSES = 64, 3, 4


def settings(*, classifier=None, irn=None, segmentation=None, **others):
    small = {"backbone": "tiny", "crop": SIDE, "batch_size": BATCH}
    return Settings(
        dataset={"kind": "demo", "name": "x"},
        classifier={**small, "cdr": {"network": "tiny", "width": 16}, **(classifier or {})},
        irn={**small, "radius": 4, **(irn or {})},
        segmentation={**small, **(segmentation or {})},
        **others,
    )


@pytest.fixture(scope="module")
def sizes():
    return measure_networks(settings(), CLASSES)


@pytest.mark.parametrize(
    ("name", "strides", "classifier", "segmentation"),
    [
        ("resnet50", (16, 16), 2239, 2020),
        ("resnet101", (16, 8), 3050, 7140),
        ("vgg16", (16, 8), None, 3300),
        ("tiny", (16, 8), None, 190),
    ],
)
def test_steps_of_the_paper_save_what_was_measured(name, strides, classifier, segmentation):
    """Bytes by pixel at a window of 512."""
    own = Settings(
        dataset={"kind": "demo", "name": "x"},
        classifier={"backbone": name, "output_stride": strides[0]},
        irn={"backbone": name, "radius": 2},
        segmentation={"backbone": name, "output_stride": strides[1], "batch_size": 1},
    )
    sizes = measure_networks(own, 20)
    assert sizes["segmentation"].saved / 512**2 == pytest.approx(segmentation, rel=0.05)
    if classifier:
        assert sizes["classifier"].saved / 6 / 512**2 == pytest.approx(classifier, rel=0.05)


def real_steps(own):
    """By training, its networks and its step on the CPU."""
    image = torch.randn(BATCH, 3, SIDE, SIDE)
    labels = torch.tensor([[1.0, 1, 0, 0]] * BATCH)
    regions = (torch.arange(SIDE * SIDE) // 256).view(1, SIDE, SIDE).repeat(BATCH, 1, 1)
    model, decoder = CAMClassifier(CLASSES, "tiny").train(), ReconstructionNet(CLASSES, width=16)
    perceptual = PerceptualLoss(loss_network("tiny"))
    irn, target = IRN("tiny").train(), torch.randint(0, 3, (BATCH, SIDE // 4, SIDE // 4))
    deeplab, truth = DeepLabV2(CLASSES + 1, "tiny").train(), torch.randint(0, CLASSES, (BATCH, SIDE, SIDE))

    def classifier_step():
        step = ClassifierStep(image, labels, regions, *model.forward_features(image), decoder, perceptual)
        return classifier_losses(step, own.classifier, epoch=2)

    def segmentation_step():
        return [masked_cross_entropy(F.interpolate(deeplab(image), size=(SIDE, SIDE), mode="bilinear"), truth)]

    return image, {
        "classifier": ([model, decoder, perceptual], classifier_step),
        "irn": ([irn], lambda: irn_losses(*irn(image), target, 4)),
        "segmentation": ([deeplab], segmentation_step),
    }


def test_real_steps_save_as_much(sizes):
    image, steps = real_steps(settings())
    for stage, (networks, step) in steps.items():
        constant = [tensor for network in networks for tensor in network.state_dict().values()]
        saved, _ = saved_bytes(step, leave_out=[image, *constant])
        assert sizes[stage].saved == pytest.approx(saved, rel=0.2), stage


def test_weight_files_hold_what_is_counted(sizes):
    _, steps = real_steps(settings())
    for stage, (networks, _) in steps.items():
        networks = [network for network in networks if not isinstance(network, PerceptualLoss)]
        numbers = sum(tensor.numel() for each in networks for tensor in each.state_dict().values())
        assert sizes[stage].weights == 4 * numbers


def test_settings_that_make_a_step_larger():
    lean = measure_networks(settings(memory="lean"), CLASSES)
    more = measure_networks(settings(irn={"radius": 2}, segmentation={"training": "cotraining"}), CLASSES)
    assert lean["classifier"].saved < 0.6 * more["classifier"].saved and more["irn"].saved < lean["irn"].saved
    for name in ("saved", "weights", "training_flops"):
        assert getattr(more["segmentation"], name) == 2 * getattr(lean["segmentation"], name)
    assert all(more[stage].weights == lean[stage].weights for stage in ("classifier", "irn"))
    own = {"classifier": {"cdr": {"enabled": False}}, **{name: {"batch_size": 2 * BATCH} for name in STAGES[1:]}}
    plain = measure_networks(settings(**own), CLASSES)
    edges = measure_networks(settings(irn={"displacement_lr": None}), CLASSES)["irn"]
    assert edges.flops_per_pixel == lean["irn"].flops_per_pixel
    for name in ("saved", "weights", "training_flops"):
        assert getattr(edges, name) < getattr(lean["irn"], name)
    for name in ("saved", "weights", "training_flops"):
        assert getattr(plain["classifier"], name) < getattr(lean["classifier"], name)
    for stage in STAGES[1:]:
        assert plain[stage]._replace(saved=0) == lean[stage]._replace(saved=0)
        assert plain[stage].saved == 2 * lean[stage].saved


def test_inference_is_that_of_the_first_network_and_of_irn_the_edges(sizes):
    """What it holds at a time and its work, by pixel, are those of a run on the CPU."""
    _, steps = real_steps(settings())
    photos = torch.randn(2, 3, 128, 128)
    for stage, ((network, *_), _) in steps.items():
        look = partial(network.eval().edges if stage == "irn" else network.eval(), photos)
        held = peak_bytes(look, leave_out=[photos, *network.state_dict().values()])
        assert sizes[stage].bytes_per_pixel == pytest.approx(held / photos[:, 0].numel(), rel=0.1), stage
        assert sizes[stage].flops_per_pixel == pytest.approx(count_flops(look) / photos[:, 0].numel(), rel=0.1), stage


def test_work_of_a_training_counts_what_is_trained(sizes):
    """Three times the forward pass, less where a backbone is frozen; the loss network's thrice: it sees two pictures,
    and a gradient goes back to one of them."""
    forward = {stage: SIDE**2 * size.flops_per_pixel for stage, size in sizes.items()}
    assert sizes["segmentation"].training_flops == pytest.approx(3 * forward["segmentation"], rel=0.1)
    edges = measure_networks(settings(irn={"displacement_lr": None}), CLASSES)["irn"]  # which alone infer
    assert forward["irn"] < edges.training_flops < 2.9 * forward["irn"]

    def flops(**cdr):
        own = settings(classifier={"cdr": {"network": "tiny", "width": 16, **cdr}})
        return training_size._measure(training_size._classifier(own, CLASSES), crop=SIDE, batch_size=2).training_flops

    with torch.device("meta"):
        judge = count_flops(lambda: loss_network("tiny")(torch.empty(1, 3, SIDE, SIDE)))
        assert flops() - flops(loss="l1") == 3 * judge


def test_a_network_that_cannot_be_built_is_refused(monkeypatch):
    def refuse(*arguments, **options):
        raise ValueError("no block ends in a ReLU; switch DRS off")

    monkeypatch.setattr(training_size, "CAMClassifier", refuse)
    with pytest.raises(InputError, match=r"^classifier: no block ends in a ReLU; switch DRS off\.$"):
        measure_networks(settings(), CLASSES)
