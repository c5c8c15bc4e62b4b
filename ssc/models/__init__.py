"""Networks: backbones, the CAM classifier with DRS, the reconstruction net, IRN, DeepLabV2, the loss networks."""

from ssc.models.backbones import backbone
from ssc.models.classifier import CAMClassifier
from ssc.models.deeplab import DeepLabV2
from ssc.models.drs import DiscriminativeRegionSuppression
from ssc.models.irn import IRN
from ssc.models.reconstruction import ReconstructionNet

__all__ = [
    "IRN",
    "CAMClassifier",
    "DeepLabV2",
    "DiscriminativeRegionSuppression",
    "ReconstructionNet",
    "backbone",
]
