"""Losses against formulations with loops, explicit matrices and float64."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

import ssc.losses
from ssc.losses import (
    TERMS,
    ClassifierStep,
    PerceptualLoss,
    Term,
    alignment_loss,
    classifier_losses,
    decoder_colours,
    decoder_image,
    erode,
    masked_cross_entropy,
    normalise_cam,
    ramp,
    region_means,
)
from ssc.models.perceptual import VGG19Features

EPS = 1e-5
masks = arrays.arrays(
    np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 1, 1])
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def slow_erode(mask, size):
    """Every pixel of the square must be set; its pixel [size // 2, size // 2] is the one written."""
    height, width = mask.shape
    eroded = np.ones_like(mask)
    for y in range(height):
        for x in range(width):
            for dy in range(-(size // 2), size - size // 2):
                for dx in range(-(size // 2), size - size // 2):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        eroded[y, x] &= mask[y + dy, x + dx]
    return eroded


def bilinear_matrix(inputs, outputs):
    """(outputs, inputs) weights of linear interpolation with matched pixel centres and repeated borders."""
    matrix = torch.zeros(outputs, inputs, dtype=torch.float64)
    for row in range(outputs):
        centre = min(max((row + 0.5) * inputs / outputs - 0.5, 0), inputs - 1)
        low = int(centre)
        matrix[row, low] += 1 - (centre - low)
        matrix[row, min(low + 1, inputs - 1)] += centre - low
    return matrix


def slow_cam(maps, detach_maximum=False):
    positive = maps.clamp(min=0)
    maximum = positive.flatten().max()
    return positive / ((maximum.item() if detach_maximum else maximum) + EPS)


def slow_alignment(features, superpixels, labels, *, threshold=0.3, erosion=8, reliable=True, detach_maximum=False):
    """One map at a time in float64; superpixels as one-hot rows, resizing as matrices."""
    height, width = (side // 2 for side in superpixels.shape[-2:])
    rows = [y * superpixels.shape[-2] // height for y in range(height)]
    columns = [x * superpixels.shape[-1] // width for x in range(width)]
    up, across = bilinear_matrix(features.shape[-2], height), bilinear_matrix(features.shape[-1], width)
    errors = []
    for b, c in labels.nonzero().tolist():
        resized = up @ features[b, c].double() @ across.T
        activation = slow_cam(resized, detach_maximum)
        with torch.no_grad():
            regions = superpixels[b][rows][:, columns].flatten()
            one_hot = (regions[None] == regions.unique()[:, None]).double()
            means = (one_hot @ resized.flatten()) / one_hot.sum(dim=1)
            target = slow_cam((means @ one_hot).view(height, width))
            if reliable:
                mask = torch.from_numpy(slow_erode((activation > threshold).numpy(), erosion))
                target = torch.maximum(target, activation * mask)
        errors.append((activation - target) ** 2)
    return torch.stack(errors).mean()


def scene(size=(50, 61), grid=(7, 8), batch=2, classes=3):
    """Broad bumps with noise, superpixels in 16 blocks with gaps between their labels, two classes per image."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, grid[0]), torch.linspace(-1, 1, grid[1]), indexing="ij")
    features = torch.empty(batch, classes, *grid)
    for b in range(batch):
        for c in range(classes):
            bump = torch.exp(-((y - 0.4 * b + 0.2) ** 2) - (x + 0.3 * c) ** 2)
            features[b, c] = 3 * bump - 1 + 0.2 * torch.randn(grid, generator=generator(10 * b + c))
    rows, columns = torch.arange(size[0]) * 4 // size[0], torch.arange(size[1]) * 4 // size[1]
    superpixels = torch.stack([3 * (4 * rows[:, None] + columns) + b for b in range(batch)])
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    return features, superpixels, labels


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(1, 9))
def test_erosion_is_the_slow_erosion(mask, size):
    own = erode(torch.from_numpy(mask)[None].float(), size)[0].numpy()
    np.testing.assert_array_equal(own.astype(bool), slow_erode(mask, size))


def test_erosion_by_eight_is_scipys_with_the_anchor_at_index_four():
    mask = np.random.default_rng(0).random((40, 33)) < 0.99
    # SciPy's origin 0 is index size // 2 of the structure.
    reference = ndimage.binary_erosion(mask, np.ones((8, 8)), border_value=1, origin=0)
    assert 0 < reference.sum() < mask.sum()
    np.testing.assert_array_equal(erode(torch.from_numpy(mask)[None].float(), 8)[0].numpy().astype(bool), reference)


def test_erosion_of_one_hole_shows_the_anchor():
    mask = torch.ones(1, 20, 20)
    mask[0, 10, 10] = 0
    holes = (erode(mask, 8)[0] == 0).nonzero()
    assert (holes.amin(0).tolist(), holes.amax(0).tolist(), len(holes)) == ([7, 7], [14, 14], 64)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(0, 10_000))
def test_region_means_are_the_means_of_every_region(maps, height, width, labels, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(maps, height, width))
    regions = rng.integers(0, labels, size=values.shape)
    own = region_means(torch.from_numpy(values), torch.from_numpy(regions))
    expected = np.empty_like(values)
    for k in range(maps):
        for label in np.unique(regions[k]):
            inside = regions[k] == label
            expected[k][inside] = values[k][inside].mean()
    np.testing.assert_allclose(own.numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(region_means(own, torch.from_numpy(regions)).numpy(), expected, rtol=0, atol=1e-12)


def test_cam_normalisation():
    maps = torch.randn(2, 3, 5, 4, generator=generator())
    maps[0, 0] = -1
    own = normalise_cam(maps).numpy()
    for b in range(2):
        for c in range(3):
            positive = np.maximum(maps[b, c].numpy(), 0)
            np.testing.assert_allclose(own[b, c], positive / (positive.max() + EPS), rtol=1e-6)
    assert own.min() == 0 and own.max() < 1 and not own[0, 0].any()


@pytest.mark.parametrize("change", [{}, {"reliable": False}, {"detach_maximum": True}])
@pytest.mark.parametrize("size", [(50, 61), (64, 64)])
def test_alignment_loss_and_gradient(change, size):
    features, superpixels, labels = scene(size)
    own_features = features.clone().requires_grad_()
    slow_features = features.clone().double().requires_grad_()
    own = alignment_loss(own_features, superpixels, labels, **change)
    slow = slow_alignment(slow_features, superpixels, labels, **change)
    own.backward()
    slow.backward()
    assert own.item() == pytest.approx(slow.item(), rel=1e-5)
    assert slow_features.grad.abs().max() > 1e-4
    torch.testing.assert_close(own_features.grad.double(), slow_features.grad, rtol=1e-4, atol=1e-8)
    assert not own_features.grad[labels == 0].any()


def test_a_detached_maximum_changes_the_gradient_alone():
    features, superpixels, labels = scene()
    losses, gradients = [], []
    for detach in (False, True):
        own = features.clone().requires_grad_()
        losses.append(alignment_loss(own, superpixels, labels, detach_maximum=detach))
        losses[-1].backward()
        gradients.append(own.grad)
    assert losses[0] == losses[1]
    assert (gradients[0] - gradients[1]).abs().max() > 1e-5


@pytest.mark.parametrize("change", [{"reliable": False}, {"threshold": 0.6}, {"erosion": 3}])
def test_alignment_settings_count(change):
    loss = alignment_loss(*scene(), **change)
    assert loss.item() == pytest.approx(slow_alignment(*scene(), **change).item(), rel=1e-5)
    assert abs(loss - alignment_loss(*scene())) > 1e-5


def test_alignment_ignores_the_names_of_superpixels():
    features, superpixels, labels = scene()
    renamed = torch.randperm(int(superpixels.max()) + 1, generator=generator())[superpixels]
    own, other = alignment_loss(features, superpixels, labels), alignment_loss(features, renamed, labels)
    assert own.item() == pytest.approx(other.item(), rel=1e-6)


def test_maps_that_follow_the_superpixels_are_aligned():
    values = torch.randn(1, 2, 16, generator=generator())
    blocks = (torch.arange(12) * 4 // 12)[:, None] * 4 + torch.arange(20) * 4 // 20
    superpixels = blocks.repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    features = values[..., blocks]
    assert alignment_loss(features, superpixels, torch.ones(1, 2)) < 1e-12
    features[0, 0, 0, 0] += 5
    assert alignment_loss(features, superpixels, torch.ones(1, 2)) > 1e-4


def test_alignment_without_any_class_is_zero_with_a_zero_gradient():
    features, superpixels, labels = scene()
    features.requires_grad_()
    loss = alignment_loss(features, superpixels, torch.zeros_like(labels))
    loss.backward()
    assert loss.item() == 0 and torch.equal(features.grad, torch.zeros_like(features))


def test_alignment_shares_of_two_processes_add_up_to_the_whole_batch():
    """The first holds more present classes than the second; a third holds none."""
    features, superpixels, labels = scene()
    features, superpixels = torch.cat([features, features[:1]]), torch.cat([superpixels, superpixels[:1]])
    labels = torch.tensor([[1.0, 1, 1], [0, 1, 0], [0, 0, 0]])
    features.requires_grad_()
    whole = alignment_loss(features, superpixels, labels)
    (gradient,) = torch.autograd.grad(whole, features)
    shares = [
        alignment_loss(features[k : k + 1], superpixels[k : k + 1], labels[k : k + 1], total=torch.tensor(4))
        for k in range(3)
    ]
    torch.testing.assert_close(sum(shares), whole)
    assert shares[1] != alignment_loss(features[1:2], superpixels[1:2], labels[1:2])
    torch.testing.assert_close(torch.autograd.grad(sum(shares), features)[0], gradient)


# Masked cross entropy


def segmentation_batch():
    logits = torch.randn(3, 4, 5, 6, generator=generator(), dtype=torch.float64)
    target = torch.randint(0, 4, (3, 5, 6), generator=generator(1))
    target[0, :4] = 255
    target[2] = 255
    return logits, target


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    logits, target = segmentation_batch()
    terms = []
    for b, y, x in np.ndindex(*target.shape):
        if target[b, y, x] != 255:
            values = logits[b, :, y, x].numpy()
            terms.append(np.log(np.exp(values).sum()) - values[target[b, y, x]])
    assert masked_cross_entropy(logits, target).item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_cross_entropy_shares_of_two_processes_add_up_to_the_whole_batch():
    logits, target = segmentation_batch()
    logits.requires_grad_()
    whole = masked_cross_entropy(logits, target)
    total = (target != 255).sum()
    shares = [masked_cross_entropy(logits[part], target[part], total=total) for part in (slice(0, 1), slice(1, 3))]
    torch.testing.assert_close(sum(shares), whole, rtol=1e-12, atol=0)
    for own, expected in zip(torch.autograd.grad(sum(shares), logits), torch.autograd.grad(whole, logits), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-16)
    assert shares[0] != masked_cross_entropy(logits[:1], target[:1])


@pytest.mark.parametrize("total", [None, 0, torch.tensor(0)])
def test_cross_entropy_of_ignored_pixels_alone_is_zero(total):
    logits = torch.randn(1, 4, 5, 6, generator=generator()).requires_grad_()
    loss = masked_cross_entropy(logits, torch.full((1, 5, 6), 255), total=total)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


# The classifier's loss


class Decoder(nn.Module):
    """Doubles the size and takes three channels."""

    def forward(self, x):
        return F.interpolate(x[:, :3], scale_factor=2).tanh()


def classifier_settings(**changes):
    alignment = {"threshold": 0.3, "erosion": 3, "reliable": True, "detach_maximum": False}
    sections = {
        "cdr": {"weight": 0.3, "source": "last", "rectify": False, "range": "normalised"},
        "asm": {"weight": 2.0, **alignment},
    }
    common = {"enabled": True, "start_epoch": 0, "ramp_epochs": 0}
    names = sections.keys() | changes.keys()
    return SimpleNamespace(**{k: SimpleNamespace(**common | sections.get(k, {}) | changes.get(k, {})) for k in names})


def classifier_step(**changes):
    features, superpixels, labels = scene(size=(32, 32), grid=(16, 16))
    return ClassifierStep(
        image=torch.randn(2, 3, 32, 32, generator=generator(3)), labels=labels, superpixels=superpixels,
        early=torch.randn(2, 5, 16, 16, generator=generator(4)), features=features.requires_grad_(),
        decoder=Decoder(), reconstruction_loss=nn.L1Loss(),
    )._replace(**changes)  # fmt: skip


def slow_terms(step):
    """Classification, reconstruction and alignment from their formulas, unweighted."""
    probability = step.features.mean(dim=(2, 3)).sigmoid()
    classification = -(step.labels * probability.log() + (1 - step.labels) * (1 - probability).log()).mean()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    picture = ((step.decoder(step.features) + 1) / 2 - mean) / std
    alignment = slow_alignment(step.features, step.superpixels, step.labels, erosion=3)
    return classification, (picture - step.image).abs().mean(), alignment


@pytest.mark.parametrize("epoch", [0, 1, 2, 5])
def test_classifier_losses_are_weighted_from_their_start_on(epoch):
    step = classifier_step()
    settings = classifier_settings(cdr={"start_epoch": 1, "ramp_epochs": 2}, asm={"start_epoch": 2})
    own = classifier_losses(step, settings, epoch=epoch)
    classification, reconstruction, alignment = slow_terms(step)
    expected = {"classification": classification}
    if epoch >= 1:
        expected["reconstruction"] = 0.3 * {1: 1 / 3, 2: 2 / 3, 5: 1.0}[epoch] * reconstruction
    if epoch >= 2:
        expected["alignment"] = 2.0 * alignment.float()
    assert list(own) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(own[name], value, rtol=1e-4, atol=1e-6)


def test_terms_that_are_off_need_nothing():
    step = classifier_step(decoder=None, reconstruction_loss=None, superpixels=None)
    off = {"enabled": False}
    assert list(classifier_losses(step, classifier_settings(cdr=off, asm=off), epoch=9)) == ["classification"]


def test_the_decoder_reads_what_the_settings_say():
    step = classifier_step()
    values = [
        classifier_losses(step, classifier_settings(cdr=change), epoch=0)["reconstruction"].item()
        for change in ({}, {"rectify": True}, {"source": "early"})
    ]
    for value, source in zip(values, (step.features, step.features.relu(), step.early), strict=True):
        picture = decoder_image(step.decoder(source))
        assert value == pytest.approx(0.3 * (picture - step.image).abs().mean().item(), rel=1e-6)
    assert len(set(values)) == 3


def test_a_new_term_is_summed_with_its_weight_and_ramp(monkeypatch):
    """A term is its function and one entry of the table."""

    def sparsity(step, settings):
        return step.features.abs().pow(settings.power).mean()

    monkeypatch.setitem(TERMS, "sparse", Term("sparsity", sparsity))
    step = classifier_step()
    settings = classifier_settings(sparse={"weight": 5.0, "start_epoch": 1, "ramp_epochs": 3, "power": 2})
    assert list(classifier_losses(step, settings, epoch=0)) == ["classification", "reconstruction", "alignment"]
    losses = classifier_losses(step, settings, epoch=2)
    torch.testing.assert_close(losses.pop("sparsity"), 5.0 * 2 / 4 * step.features.square().mean())
    others = classifier_losses(step, classifier_settings(sparse={"enabled": False}), epoch=2)
    assert losses == others


def test_classifier_shares_of_two_processes_add_up_to_the_whole_batch():
    step, settings = classifier_step(labels=torch.tensor([[1.0, 1, 1], [0, 1, 0]])), classifier_settings()
    whole = classifier_losses(step, settings, epoch=0)
    present = step.labels.count_nonzero()
    images = ("image", "labels", "superpixels", "early", "features")
    shares = [
        classifier_losses(
            step._replace(
                processes=2, present=present, **{name: getattr(step, name)[k : k + 1] for name in images}
            ), settings, epoch=0,
        )
        for k in range(2)
    ]  # fmt: skip
    for name, value in whole.items():
        torch.testing.assert_close(shares[0][name] + shares[1][name], value)
    (gradient,) = torch.autograd.grad(sum(whole.values()), step.features)
    both = sum(value for share in shares for value in share.values())
    torch.testing.assert_close(torch.autograd.grad(both, step.features)[0], gradient)


@pytest.mark.parametrize(
    ("start", "length", "factors"), [(0, 0, [1, 1, 1]), (0, 2, [1 / 3, 2 / 3, 1, 1]), (1, 1, [None, 0.5, 1, 1])]
)
def test_ramp(start, length, factors):
    for epoch, factor in enumerate(factors):
        if factor is not None:
            assert ramp(epoch, start, length) == pytest.approx(factor)


# The perceptual loss


@pytest.fixture(scope="module")
def vgg():
    """torchvision's VGG-19 convolutions, randomly weighted; the big linear layers are never allocated."""
    with torch.device("meta"):
        features = torchvision.models.vgg19(weights=None).features
    features = features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=generator(layer.in_channels))
            nn.init.constant_(layer.bias, 0.1)
    return features


def taps_by_name(features, taps):
    """Indices of relu<k>_1, or of the convolution before each pooling layer, found from the layers' types."""
    pools = [k for k, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    if taps == "relu1":
        return [start + 1 for start in (0, *(pool + 1 for pool in pools[:-1]))]
    return [pool - 2 for pool in pools]


def loss_network(vgg, taps):
    with torch.device("meta"):
        network = VGG19Features(taps=taps)
    own = {f"features.{key}": value.clone() for key, value in vgg.state_dict().items()}
    network.load_state_dict({key: own[key] for key in network.state_dict()}, assign=True)
    return network


@pytest.mark.parametrize("taps", ["relu1", "pool"])
def test_perceptual_loss_is_the_weighted_sum_over_named_layers(vgg, taps):
    loss = PerceptualLoss(loss_network(vgg, taps)).train()
    reconstruction = torch.randn(2, 3, 32, 32, generator=generator(1)).requires_grad_()
    image = torch.randn(2, 3, 32, 32, generator=generator(2)).requires_grad_()
    expected, a, b = 0.0, reconstruction.detach(), image.detach()
    weights = dict(zip(taps_by_name(vgg, taps), [0.03125, 0.0625, 0.125, 0.25, 1.0], strict=True))
    for index, layer in enumerate(vgg):
        if isinstance(layer, nn.Conv2d):
            a, b = (F.conv2d(x, layer.weight, layer.bias, padding=1) for x in (a, b))
        else:
            a, b = (x.relu() if isinstance(layer, nn.ReLU) else F.max_pool2d(x, 2) for x in (a, b))
        if index in weights:
            assert isinstance(layer, nn.ReLU if taps == "relu1" else nn.Conv2d)
            expected += weights[index] * (a - b).double().abs().mean().item()
    own = loss(reconstruction, image)
    own.backward()
    assert own.item() == pytest.approx(expected, rel=1e-5)
    assert reconstruction.grad.abs().max() > 0 and image.grad is None
    assert all(p.grad is None and not p.requires_grad for p in loss.parameters())


class Stages(nn.Module):
    """Loss network of two stages with a layer that behaves differently in training."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)

    def forward(self, image):
        first = self.first(image)
        return [first, self.second(first)]


def test_the_loss_network_stays_as_it_is_while_the_rest_trains():
    network = Stages().train()
    loss = PerceptualLoss(network, weights=(1.0, 2.0))
    nn.ModuleList([loss]).train()
    assert loss.training and not any(module.training for module in network.modules())
    image = torch.randn(2, 3, 4, 4, generator=generator())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert loss(image, image) == 0 and loss(image + 1, image) > 0
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


class Squares(nn.Module):
    """Smooth stages in double precision, so that numeric gradients hold."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3).double(), nn.Conv2d(4, 2, 1).double()

    def forward(self, image):
        first = self.first(image).square()
        return [first, self.second(first)]


def plain_perceptual(network, weights, reconstruction, image):
    with torch.no_grad():
        targets = network(image)
    return sum(w * F.l1_loss(a, b) for w, a, b in zip(weights, network(reconstruction), targets, strict=True))


@pytest.mark.parametrize("pixels", [1, 2 * 6 * 5, 10**6])
def test_perceptual_gradient_is_that_of_the_plain_graph(monkeypatch, pixels):
    """One image at a time, two (the last part is smaller), all."""
    monkeypatch.setattr(ssc.losses, "_CHUNK_PIXELS", pixels)
    image = torch.randn(5, 3, 6, 5, generator=generator(1), dtype=torch.float64)
    reconstruction = torch.randn(5, 3, 6, 5, generator=generator(2), dtype=torch.float64).requires_grad_()
    loss = PerceptualLoss(Squares(), weights=(0.5, 2.0))
    own = loss(reconstruction, image)
    (3 * own).backward()
    gradient, reconstruction.grad = reconstruction.grad, None
    expected = plain_perceptual(loss.network, loss.weights, reconstruction, image)
    (3 * expected).backward()
    torch.testing.assert_close(own, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, reconstruction.grad, rtol=1e-10, atol=1e-14)


def test_perceptual_gradient_passes_gradcheck(monkeypatch):
    monkeypatch.setattr(ssc.losses, "_CHUNK_PIXELS", 2 * 4 * 3)
    image, other = torch.randn(2, 3, 3, 4, 3, generator=generator(1), dtype=torch.float64)
    loss = PerceptualLoss(Squares(), weights=(0.5, 2.0))
    assert torch.autograd.gradcheck(lambda x: loss(x, image), other.requires_grad_(), eps=1e-7)


def test_perceptual_loss_saves_an_image_alone():
    image = torch.randn(2, 3, 16, 16, generator=generator(1))
    reconstruction = torch.randn(2, 3, 16, 16, generator=generator(2)).requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.shape), lambda _: None):
        PerceptualLoss(VGG19Features())(reconstruction, image)
    assert saved == [image.shape]


def test_perceptual_loss_without_gradients():
    image, other = torch.randn(2, 2, 3, 8, 8, generator=generator())
    loss = PerceptualLoss(Stages(), weights=(1.0, 2.0))
    with torch.no_grad():
        value = loss(other, image)
    assert not value.requires_grad and not loss(other, image).requires_grad
    assert value == loss(other.requires_grad_(), image) > 0


def test_perceptual_weights_must_match_the_stages():
    image = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError):
        PerceptualLoss(Stages(), weights=(1.0,))(image, image)


def test_the_loss_sees_the_output_as_it_is_or_as_a_normalised_colour():
    painted = torch.tensor([[[-1.0, 0.0, 1.0]]]).expand(3, 1, 3)[None].clone()
    assert decoder_image(painted, range="tanh") is painted
    found = decoder_image(painted)
    for channel, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        expected = [(value - mean) / std for value in (0.0, 0.5, 1.0)]
        np.testing.assert_allclose(found[0, channel, 0], expected, atol=1e-6)
    assert torch.equal(decoder_image(painted, "normalised"), found)


def test_the_range_of_the_reconstruction_is_a_setting():
    step = classifier_step()
    for change in ("tanh", "normalised"):
        value = classifier_losses(step, classifier_settings(cdr={"range": change}), epoch=0)["reconstruction"].item()
        picture = decoder_image(step.decoder(step.features), change)
        assert value == pytest.approx(0.3 * (picture - step.image).abs().mean().item(), rel=1e-6)


def test_colours_that_the_decoder_paints():
    """A reconstruction without loss is the photo, whatever range the loss sees it in."""
    photo = torch.rand(3, 4, 5, generator=generator(0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(decoder_colours((photo - mean) / std, "tanh"), photo)
    torch.testing.assert_close(decoder_colours(2 * photo - 1), photo)
    with pytest.raises(ValueError, match="range is 'x', not normalised or tanh"):
        decoder_image(photo, "x")
