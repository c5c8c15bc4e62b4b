"""Mixing, online labels and losses of co-training against loops; the training itself is in test_segmentation.py."""

import copy
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import ndimage

from ssc.models.backbones import freeze_batch_norm
from ssc.models.deeplab import DeepLabV2
from ssc.training import cotraining
from ssc.training.cotraining import (
    boundaries,
    cotraining_losses,
    draw_regions,
    mask_labels,
    network_losses,
    online_labels,
    paste,
)
from ssc.workflow.settings import Cotraining

OPTIONS = {"num_classes": 4, "backbone": "tiny", "output_stride": 8, "rates": [1, 2]}
SETTINGS = Cotraining(mix_probability=1.0, online_confidence=0.7)


def draws(count, seed=0):
    """A generator for each image of a batch."""
    return [np.random.default_rng((seed, number)) for number in range(count)]


def batch(count, size=32, seed=0):
    """Random images, labels 0..3 and 255 in blocks of 4 x 4, and confidence masks."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.randn(count, 3, size, size, generator=rng)
    blocks = torch.tensor([0, 1, 2, 3, 255])[torch.randint(0, 5, (count, size // 4, size // 4), generator=rng)]
    labels = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return image, labels, torch.rand(count, size, size, generator=rng) < 0.6


@pytest.fixture
def networks():
    """Two networks with decided and different predictions."""
    pair = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = DeepLabV2(**OPTIONS)
        with torch.no_grad():
            for branch in network.aspp:
                branch.weight *= 20
        pair.append(network)
    return pair


# Regions and pasting


@pytest.mark.parametrize("present", [[], [1], [1, 3], [1, 2, 3], [1, 2, 3, 7, 9]])
def test_half_of_the_partners_classes_are_drawn(present):
    labels = torch.zeros(2, 6, 6, dtype=torch.int64)
    labels[0, :2] = 5
    for row, label in enumerate([*present, 255]):
        labels[1, row] = label
    half = -(-len(present) // 2)
    seen = set()
    for seed in range(100):
        regions = draw_regions(labels, probability=1.0, rngs=draws(2, seed))
        assert regions.shape == labels.shape and regions.dtype == torch.bool
        drawn = frozenset(labels[1][regions[0]].tolist())
        assert torch.equal(regions[0], torch.isin(labels[1], torch.tensor(sorted(drawn), dtype=torch.int64)))
        assert torch.equal(regions[1], labels[0] == 5)
        seen.add(drawn)
    assert seen == {frozenset(choice) for choice in combinations(present, half)}


def test_each_image_is_mixed_with_the_given_probability():
    labels = torch.ones(64, 2, 2, dtype=torch.int64)
    counts = np.array(
        [
            draw_regions(labels, probability=0.3, rngs=draws(64, seed)).all(dim=2).all(dim=1).tolist()
            for seed in range(50)
        ]
    )
    assert abs(counts.mean() - 0.3) < 0.03
    # both directions of a pair are drawn apart
    assert {tuple(pair) for pair in counts[:, [0, 32]].tolist()} == {
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    }
    assert not draw_regions(labels, probability=0.0, rngs=draws(64)).any()


def test_regions_depend_on_the_generators_seed_alone():
    labels = batch(8)[1]
    first, again, other = (draw_regions(labels, probability=0.5, rngs=draws(8, seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("parts", [2, 3])
def test_regions_do_not_depend_on_the_number_of_processes(parts):
    """Part r of a batch has the images r, r + parts, ...; partners meet in it."""
    count = 4 * parts
    labels = batch(count)[1]
    whole = draw_regions(labels, probability=0.5, rngs=draws(count))
    assert 0 < whole.flatten(1).any(dim=1).sum() < count
    for part in range(parts):
        own = draw_regions(labels[part::parts], probability=0.5, rngs=draws(count)[part::parts])
        assert torch.equal(own, whole[part::parts])


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_pasted_pixels_come_from_the_partner(count):
    image, labels, confident = batch(count)
    regions = torch.rand(count, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.5
    half = count // 2
    for maps in (image, labels, confident):
        mixed = paste(maps, regions)
        assert mixed.dtype == maps.dtype
        for own in range(count):
            other = own + half if own < half else own - half if own < 2 * half else own
            for y, x in np.ndindex(32, 32):
                source = other if regions[own, y, x] else own
                assert torch.equal(mixed[own, ..., y, x], maps[source, ..., y, x])


def test_the_last_image_of_an_odd_batch_is_not_mixed():
    regions = draw_regions(batch(5)[1], probability=1.0, rngs=draws(5))
    assert regions[:4].flatten(1).any(dim=1).all() and not regions[4].any()
    assert not draw_regions(batch(1)[1], probability=1.0, rngs=draws(1)).any()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_boundaries_are_dilation_minus_erosion(size):
    regions = batch(6)[1] == 1
    regions[4], regions[5] = True, False
    square = np.ones((2 * size + 1, 2 * size + 1), bool)
    for region, found in zip(regions.numpy(), boundaries(regions, size).numpy(), strict=True):
        dilated = ndimage.binary_dilation(region, square)
        eroded = ndimage.binary_erosion(region, square, border_value=1)
        np.testing.assert_array_equal(found, dilated & ~eroded)
    assert boundaries(regions, size)[0].any() and not boundaries(regions, size)[4:].any()


# Losses


def log_softmax(values):
    values = np.asarray(values, np.float64)
    return values - np.log(np.exp(values).sum())


def slow_losses(own, other, labels, confident, edges, weight):
    supervised = mutual = 0.0
    count, _, height, width = own.shape
    for b, y, x in np.ndindex(count, height, width):
        scores = log_softmax(own[b, :, y, x])
        if confident[b, y, x]:
            if labels[b, y, x] != 255:
                supervised += -scores[labels[b, y, x]] * (1 + weight * int(edges[b, y, x]))
        else:
            mutual += -scores[other[b, :, y, x].argmax()]
    return supervised / (count * height * width), mutual / (count * height * width)


def test_losses_of_a_network():
    generator = torch.Generator().manual_seed(0)
    own, other = (torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    _, labels, confident = batch(2, 8)
    edges = torch.rand(2, 8, 8, generator=generator) < 0.3
    own.requires_grad_()
    other.requires_grad_()
    found = network_losses(own, other, labels, confident, 1 + 0.2 * edges)
    expected = slow_losses(*(x.detach().numpy() for x in (own, other, labels, confident, edges)), 0.2)
    assert [loss.item() for loss in found] == pytest.approx(expected, rel=1e-6)
    sum(found).backward()
    assert other.grad is None and own.grad.abs().sum() > 0
    ignored = (confident & (labels == 255))[:, None].expand_as(own)
    assert not own.grad[ignored].any() and own.grad[~ignored].any()


@torch.no_grad()
def full_logits(network, image):
    return torch.nn.functional.interpolate(network(image), size=image.shape[-2:], mode="bilinear").double().numpy()


def slow_step(networks, image, labels, confident, *, online, settings, rngs):
    """The losses of a step, image by image; uses the regions that the generators give."""
    networks = copy.deepcopy(networks)  # the passes below move running statistics
    count = len(image)
    half = count // 2
    source, source_confident = labels.clone(), confident.clone()
    drawable = labels.clone()
    if online:
        for network in networks:
            network.eval()
        mean = np.mean([full_logits(network, image) for network in networks], axis=0)
        for network in networks:
            network.train()
        for b, y, x in np.ndindex(count, 32, 32):
            scores = np.exp(log_softmax(mean[b, :, y, x]))
            outside = bool(confident[b, y, x]) and labels[b, y, x] == 255
            source[b, y, x] = 255 if outside else int(scores.argmax())
            source_confident[b, y, x] = bool(outside or scores.max() > settings.online_confidence)
            drawable[b, y, x] = source[b, y, x] if source_confident[b, y, x] else 255
    regions = draw_regions(drawable, probability=settings.mix_probability, rngs=rngs)
    mixed_image, mixed_labels, mixed_confident = image.clone(), labels.clone(), confident.clone()
    edges = np.zeros((count, 32, 32), bool)
    for own in range(2 * half):
        other, region = (own + half) % (2 * half), regions[own]
        if not region.any():
            continue
        mixed_image[own][:, region] = image[other][:, region]
        mixed_labels[own] = torch.where(region, source[other], source[own])
        mixed_confident[own] = torch.where(region, source_confident[other], source_confident[own])
        if online:
            square = np.ones((3, 3), bool)
            grown = ndimage.binary_dilation(region.numpy(), square)
            edges[own] = grown & ~ndimage.binary_erosion(region.numpy(), square, border_value=1)
    logits = [full_logits(network, mixed_image) for network in networks]
    targets = (mixed_labels.numpy(), mixed_confident.numpy(), edges, settings.boundary_weight)
    pairs = [slow_losses(logits[0], logits[1], *targets), slow_losses(logits[1], logits[0], *targets)]
    return np.sum(pairs, axis=0), regions, edges


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize(("count", "probability"), [(4, 0.5), (5, 1.0)])
def test_losses_of_a_step(networks, online, count, probability):
    data = batch(count)
    settings = SETTINGS.model_copy(update={"mix_probability": probability, "boundary_weight": 0.7})
    expected, regions, edges = slow_step(networks, *data, online=online, settings=settings, rngs=draws(count, 5))
    mixed = regions.flatten(1).any(dim=1).tolist()
    assert any(mixed) and not all(mixed)
    assert edges.any() == online
    found = cotraining_losses(networks, *data, online=online, settings=settings, rngs=draws(count, 5))
    assert list(found) == ["cross_entropy", "mutual"]
    assert [loss.item() for loss in found.values()] == pytest.approx(expected.tolist(), rel=1e-5)


def test_losses_have_gradients_for_both_networks(networks):
    losses = cotraining_losses(networks, *batch(4), online=True, settings=SETTINGS, rngs=draws(4))
    losses["mutual"].backward()
    assert all(network.aspp[0].weight.grad.abs().sum() > 0 for network in networks)


# Online labels


def test_online_labels_are_those_of_the_mean_logits_in_evaluation_mode(networks):
    image, labels, confident = batch(3)
    freeze_batch_norm(networks[1])
    modes = [[layer.training for layer in network.modules()] for network in networks]
    states = [copy.deepcopy(network.state_dict()) for network in networks]
    best, certain = online_labels(networks, image, labels, confident, threshold=0.7)
    assert [[layer.training for layer in network.modules()] for network in networks] == modes
    for network, state in zip(networks, states, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
        network.eval()
    mean = np.mean([full_logits(network, image) for network in networks], axis=0)
    for b, y, x in np.ndindex(3, 32, 32):
        if confident[b, y, x] and labels[b, y, x] == 255:
            assert best[b, y, x] == 255 and certain[b, y, x]
        else:
            assert best[b, y, x] == mean[b, :, y, x].argmax()
            assert certain[b, y, x] == (np.exp(log_softmax(mean[b, :, y, x])).max() > 0.7)
    assert 0.1 < certain.float().mean() < 0.9


def test_masked_labels():
    _, labels, confident = batch(2)
    masked = mask_labels(labels, confident)
    assert torch.equal(masked[confident], labels[confident]) and (masked[~confident] == 255).all()


@pytest.mark.parametrize("online", [False, True])
def test_colours_are_changed_after_the_mixing_and_labels_stay(networks, monkeypatch, online):
    """The networks see the mixed photos as the colours have left them; online labels come from the photos before."""
    image, labels, confident = batch(4)

    def step(change, **more):
        """Losses, and what the first network sees, of networks that have not been trained yet."""
        monkeypatch.setattr(cotraining, "jitter", change)
        pair, seen = copy.deepcopy(networks), []
        pair[0].register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
        own = {"online": online, "settings": SETTINGS, "rngs": draws(4), **more}
        return cotraining_losses(pair, image, labels, confident, **own), seen

    off, mixed = step(None)
    kept, same = step(lambda photos, rngs: photos, colours=True)
    found, bright = step(lambda photos, rngs: 2 * photos, colours=True)
    assert not torch.equal(mixed[-1], image)
    assert torch.equal(same[-1], mixed[-1]) and torch.equal(bright[-1], 2 * mixed[-1])
    assert len(bright) == 1 + online and (not online or torch.equal(bright[0], image))
    assert all(torch.equal(kept[name], off[name]) and not torch.equal(found[name], off[name]) for name in off)
