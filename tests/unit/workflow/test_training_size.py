"""The size of the trainings: networks that were measured once, and real steps on the CPU."""

import pytest
import torch
from torch.nn import functional as F

from ssc.affinity import irn_losses
from ssc.losses import ClassifierStep, PerceptualLoss, classifier_losses, masked_cross_entropy
from ssc.models import IRN, CAMClassifier, DeepLabV2, ReconstructionNet
from ssc.models.perceptual import loss_network
from ssc.models.size import saved_bytes
from ssc.runtime.errors import InputError
from ssc.workflow import training_size
from ssc.workflow.settings import Settings
from ssc.workflow.training_size import measure_trainings

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
    _, saved = measure_trainings(own, 20)
    assert saved["segmentation"] / 512**2 == pytest.approx(segmentation, rel=0.05)
    if classifier:
        assert saved["classifier"] / 6 / 512**2 == pytest.approx(classifier, rel=0.05)


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


def test_real_steps_save_as_much():
    own = settings()
    _, measured = measure_trainings(own, CLASSES)
    image, steps = real_steps(own)
    for stage, (networks, step) in steps.items():
        constant = [tensor for network in networks for tensor in network.state_dict().values()]
        saved, _ = saved_bytes(step, leave_out=[image, *constant])
        assert measured[stage] == pytest.approx(saved, rel=0.2), stage


def test_weight_files_hold_what_is_counted():
    weights, _ = measure_trainings(settings(), CLASSES)
    _, steps = real_steps(settings())
    for stage, (networks, _) in steps.items():
        networks = [network for network in networks if not isinstance(network, PerceptualLoss)]
        assert weights[stage] == 4 * sum(tensor.numel() for each in networks for tensor in each.state_dict().values())


def test_settings_that_make_a_step_larger():
    weights, saved = measure_trainings(settings(memory="lean"), CLASSES)
    fast = settings(irn={"radius": 2}, segmentation={"training": "cotraining"})
    more_weights, more = measure_trainings(fast, CLASSES)
    assert saved["classifier"] < 0.6 * more["classifier"] and more["irn"] < saved["irn"]
    assert more["segmentation"] == 2 * saved["segmentation"]
    assert more_weights == {**weights, "segmentation": 2 * weights["segmentation"]}
    plain = settings(classifier={"cdr": {"enabled": False}}, **{name: {"batch_size": 2 * BATCH} for name in STAGES[1:]})
    plain_weights, plain_saved = measure_trainings(plain, CLASSES)
    assert plain_saved["classifier"] < saved["classifier"] and plain_weights["classifier"] < weights["classifier"]
    assert all(plain_saved[stage] == 2 * saved[stage] for stage in STAGES[1:])


def test_a_network_that_cannot_be_built_is_refused(monkeypatch):
    def refuse(*arguments, **options):
        raise ValueError("no block ends in a ReLU; switch DRS off")

    monkeypatch.setattr(training_size, "CAMClassifier", refuse)
    with pytest.raises(InputError, match=r"^classifier: no block ends in a ReLU; switch DRS off\.$"):
        measure_trainings(settings(), CLASSES)
