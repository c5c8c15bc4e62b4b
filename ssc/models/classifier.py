"""The CAM classifier: a fully convolutional network whose last feature maps are the class activation maps."""

from pathlib import Path

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ssc.models.backbones import backbone as build_backbone
from ssc.models.backbones import freeze_batch_norm
from ssc.models.drs import DiscriminativeRegionSuppression
from ssc.weights import load_backbone

_ENDS_IN_RELU = (nn.ReLU, BasicBlock, Bottleneck)


class CAMClassifier(nn.Module):
    """Backbone, 1x1 convolution to one map per class, global average pooling (paper section III-A).

    Args:
        num_classes: number C of foreground classes.
        backbone: name, see `ssc.backbone_names.OUTPUT_STRIDES`.
        weights: safetensors file with the backbone's tensors, or None for random ones.
        output_stride: stride of the feature maps; no dilation is used.
        drs: suppress discriminative regions after the third stage (in training) and after each residual block, or each
            ReLU of VGG16, of the fifth.
        delta: upper bound of DRS.
        drs_at_inference: keep the suppression in the fifth stage in evaluation mode.
        stop_gradient_after: in training, residual stages 1..this receive no gradient; 0 trains all.
        freeze_norm: batch norms keep their running statistics; those of the stem keep their affine part too.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        weights: str | Path | None = None,
        *,
        output_stride: int = 16,
        drs: bool = True,
        delta: float = 0.55,
        drs_at_inference: bool = True,
        stop_gradient_after: int = 2,
        freeze_norm: bool = True,
    ):
        super().__init__()
        self.backbone = build_backbone(backbone, output_stride=output_stride)
        self.classifier = nn.Conv2d(self.backbone.channels[-1], num_classes, 1, bias=False)
        self.drs = DiscriminativeRegionSuppression(delta) if drs else nn.Identity()
        self.drs_at_inference = drs_at_inference
        self.stop_gradient_after = stop_gradient_after
        self.freeze_norm = freeze_norm
        if weights is not None:
            load_backbone(self.backbone, weights)

    def train(self, mode: bool = True) -> "CAMClassifier":
        """Training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if mode and self.freeze_norm:
            freeze_batch_norm(self.backbone)
            if hasattr(self.backbone, "bn1"):
                freeze_batch_norm(self.backbone.bn1, affine=True)
        return self

    def stages(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (B, 3, H, W) to the features of the fourth stage (B, D, h', w') and the class-aware maps
        f (B, C, h, w), before any ReLU."""
        suppress = self.training or self.drs_at_inference
        frozen = self.stop_gradient_after if self.training else 0
        enabled = torch.is_grad_enabled()
        with torch.set_grad_enabled(enabled and not frozen):
            x = self.backbone.stem(image)
        for number, layer in enumerate(self.backbone.layers(), start=1):
            third = x  # the last to be assigned enters the fourth layer
            with torch.set_grad_enabled(enabled and number > frozen):
                for block in layer:
                    x = block(x)
                    if number == 4 and suppress and isinstance(block, _ENDS_IN_RELU):
                        x = self.drs(x)
                if number == 2 and self.training:
                    x = self.drs(x)
        return third, self.classifier(x)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (B, 3, H, W) to logits (B, C) = spatial mean of f, and f (B, C, h, w)."""
        _, features = self.stages(image)
        return features.mean(dim=(2, 3)), features
