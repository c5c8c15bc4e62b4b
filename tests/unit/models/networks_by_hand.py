"""What the tests of several networks share: random weights, torchvision's networks, DRS from its formula."""

import torch
import torchvision
from torch import nn


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(build, *args, **options):
    """A network whose tensors have shapes but no values: big ones cost nothing."""
    with torch.device("meta"):
        return build(*args, **options)


def randomised(network, seed=0):
    """Random values that keep activations of the order of 1, batch norm statistics included."""
    rng = torch.Generator().manual_seed(seed)
    if any(parameter.is_meta for parameter in network.parameters()):
        network = network.to_empty(device="cpu")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            for tensor, low in ((layer.weight, 0.5), (layer.bias, -0.2), (layer.running_mean, -0.2)):
                nn.init.uniform_(tensor, low, low + 0.4, generator=rng)
            nn.init.uniform_(layer.running_var, 0.8, 1.2, generator=rng)
    return network.eval()


def with_weights_of(reference, network):
    """Our network with torchvision's tensors: names must match one to one but for the classification head."""
    state = {key: value for key, value in reference.state_dict().items() if not key.startswith(("fc.", "classifier."))}
    network.load_state_dict(state)
    return network.eval()


def torchvision_stages(network, image):
    features = [network.maxpool(network.relu(network.bn1(network.conv1(image))))]
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        features.append(layer(features[-1]))
    return features


def deeplab_resnet50(stride):
    """torchvision's dilated network with DeepLab's rates: all blocks of a stage are dilated alike."""
    replaced = {16: [False, False, True], 8: [False, True, True]}[stride]
    reference = randomised(torchvision.models.resnet50(weights=None, replace_stride_with_dilation=replaced))
    for layer, rate in ((reference.layer3, 16 // stride), (reference.layer4, 32 // stride)):
        layer[0].conv2.dilation = layer[0].conv2.padding = (rate, rate)
    return reference


def suppress(x, delta=0.55):
    return x.clamp(max=(delta * x.flatten(2).max(dim=2).values)[..., None, None])
