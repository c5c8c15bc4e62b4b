"""Names of the backbones and the output strides they have; free of torch, so that a config is checked at once."""

OUTPUT_STRIDES = {
    "tiny": (4, 8, 16),
    "resnet18": (8, 16, 32),
    "resnet34": (8, 16, 32),
    "resnet50": (8, 16, 32),
    "resnet101": (8, 16, 32),
    "vgg16": (8, 16),
}
