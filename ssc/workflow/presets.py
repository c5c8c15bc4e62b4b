"""The presets: what the authors' released code, and the paper, set otherwise than the defaults (docs/method.md)."""

from collections.abc import Mapping

# The release where the paper is silent and its numbers come from that code.
_BOTH = {
    "classifier": {"cdr": {"range": "tanh", "gamma": "uniform"}},
    "cams": {"stride": 1},
    "pseudo_labels": {"pad": 512, "mirror": "logit", "divide": "after"},
    "segmentation": {"weights": "imagenet_v2", "training": "cotraining", "windows": "resized", "colours": True},
}
_RELEASED = {
    "precision": "fp32",
    "masks": {"overlaps": "last_on_top", "crowds": "background"},
    "cams": {"dtype": "float32"},
    "pseudo_labels": {"rounding": "down", "unlabelled": "half"},
    "segmentation": {"output_stride": 8, "epochs": 100, "select_on_val": True, "cotraining": {"warm_up": 2}},
    "prediction": {"square": 512, "fuse": "max_logit", "flip": False, "crf": {"colours": "wrapped"}},
}
_PAPER = {"segmentation": {"output_stride": 16, "epochs": 80}}

# COCO: edges are found without padding, and of the segmentation's training only the paper tells something. The demo's
# scenes are smaller than VOC's photos by five: so are its squares.
_COCO = {"pseudo_labels": {"pad": None}, "segmentation": {"epochs": 40}}
_DEMO = {"pseudo_labels": {"pad": 224}}
_OF_KIND = {
    "released": {"coco": _COCO, "demo": {**_DEMO, "prediction": {"square": 96}}},
    "paper": {"coco": _COCO, "demo": _DEMO},
}

PRESETS: dict[str, list[dict]] = {"released": [_BOTH, _RELEASED], "paper": [_BOTH, _PAPER]}
"""By name, layers of settings, each above those before it."""


def preset_settings(name: str, kind: str) -> dict:
    """The settings of a preset for a kind of data set, as a configuration has them."""
    settings = {}
    for layer in (*PRESETS[name], _OF_KIND[name].get(kind, {})):
        settings = merge(settings, layer)
    return settings


def merge(base: Mapping, own: Mapping) -> dict:
    """`own` laid over `base`: sections key by key, anything else as a whole."""
    merged = dict(base)
    for key, value in own.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        merged[key] = merge(base[key], value) if nested else value
    return merged
