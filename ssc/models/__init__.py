"""Networks: backbones, the CAM classifier with DRS, the reconstruction net, IRN, DeepLabV2, the loss networks.

They are imported when they are first asked for: a configuration is checked against the table of networks without torch.
"""

from importlib import import_module

_MODULES = {
    "IRN": "irn",
    "CAMClassifier": "classifier",
    "DeepLabV2": "deeplab",
    "DiscriminativeRegionSuppression": "drs",
    "ReconstructionNet": "reconstruction",
    "backbone": "backbones",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
