"""The step of the classifier, made cheap, against the plain one: the same losses over twenty steps."""

from functools import partial

import pytest
import torch

from benchmarks.released_step import released_classifier, released_decoder, released_losses
from ssc.losses import ClassifierStep, PerceptualLoss, classifier_losses
from ssc.models import CAMClassifier, ReconstructionNet
from ssc.models.perceptual import loss_network
from ssc.training.classifier import compile_networks
from ssc.workflow.settings import Classifier

STEPS = 20
SIZE = 64
SETTINGS = Classifier(backbone="tiny", crop=SIZE, cdr={"network": "tiny", "width": 16})


def scenes():
    """A batch with smooth colours, two classes each, and superpixels in blocks."""
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.interpolate(torch.randn(3, 3, 8, 8, generator=generator), SIZE, mode="bilinear")
    labels = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0]])
    blocks = torch.arange(SIZE) // 8
    return image, labels, (8 * blocks[:, None] + blocks).expand(3, -1, -1)


def trajectory(losses, *, released=False, lean=False, dtype=torch.float64, precision=None, compiled=False):
    """Losses of STEPS steps from the same weights, (STEPS, 3), double precision unless told."""
    torch.manual_seed(0)
    layout = torch.contiguous_format if released else torch.channels_last
    model = CAMClassifier(4, "tiny", output_stride=16)
    decoder = ReconstructionNet(4, width=16)
    perceptual = PerceptualLoss(loss_network("tiny"))
    if released:
        model, decoder = released_classifier(model, SETTINGS), released_decoder(decoder)
    for module in (model, decoder, perceptual):
        module.to(dtype, memory_format=layout).train()
    if not released:
        decoder.recompute = lean
    if compiled:
        compile_networks(model, decoder, perceptual)
    fused = not released
    optimizers = [
        torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, fused=fused),
        torch.optim.Adam(decoder.parameters(), lr=5e-4, betas=(0.5, 0.999), fused=fused),
    ]
    image, labels, regions = scenes()
    image, labels = image.to(dtype, memory_format=layout), labels.to(dtype)
    found = []
    for _ in range(STEPS):
        with torch.autocast("cpu", dtype=precision, enabled=precision is not None):
            step = ClassifierStep(image, labels, regions, *model.forward_features(image), decoder, perceptual)
            terms = losses(step, SETTINGS)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        for optimizer in optimizers:
            optimizer.step()
        found.append([terms[name].item() for name in ("classification", "reconstruction", "alignment")])
    return torch.tensor(found, dtype=torch.float64)


ours = partial(classifier_losses, epoch=SETTINGS.asm.start_epoch)


@pytest.fixture
def everything_in_double(monkeypatch):
    """In single precision the rounding of twenty steps is amplified: signs, masks and Adam's first steps are jumpy."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def plain(dtype=torch.float64):
    losses = trajectory(released_losses, released=True, dtype=dtype)
    assert (losses[-1, :2] < 0.95 * losses[0, :2]).all() and losses[:, 2].min() > 1e-4
    return losses


@pytest.mark.parametrize("lean", [False, True])
def test_losses_of_twenty_steps_are_those_of_the_plain_step(everything_in_double, lean):
    torch.testing.assert_close(trajectory(ours, lean=lean), plain(), rtol=1e-9, atol=0)


def test_a_compiled_step_is_the_plain_one(everything_in_double, monkeypatch):
    """Traced and differentiated as with the default backend, which takes a C++ compiler and a minute more."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch.testing.assert_close(trajectory(ours, compiled=True, lean=True), plain(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_lower_precision_stays_near(precision):
    lower = trajectory(ours, dtype=torch.float32, precision=precision)
    expected = plain(torch.float32)
    assert not torch.equal(lower, expected)
    torch.testing.assert_close(lower[:, :2], expected[:, :2], rtol=0.1, atol=0)


def test_recomputation_changes_no_bit():
    assert torch.equal(trajectory(ours, dtype=torch.float32, lean=True), trajectory(ours, dtype=torch.float32))
