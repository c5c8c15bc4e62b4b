"""The CAM classifier: a fully convolutional network whose last feature maps are the class activation maps."""

from pathlib import Path

import torch
from torch import nn

from ssc.models import drs as suppression
from ssc.models.backbones import backbone as build_backbone
from ssc.models.backbones import freeze_batch_norm
from ssc.models.drs import DiscriminativeRegionSuppression
from ssc.models.weights import load_backbone


class CAMClassifier(nn.Module):
    """Backbone, 1x1 convolution to one map per class, global average pooling (paper section III-A).

    Args:
        num_classes: number C of foreground classes.
        backbone: name, see `ssc.models.networks.NETWORKS`.
        weights: safetensors file with the backbone's tensors, or None for random ones.
        output_stride: stride of the feature maps; no dilation is used.
        drs: suppress discriminative regions after stage 2 (in training) and after the blocks of stage 4, the stem being
            stage 0; see `ssc.models.drs.attach`.
        delta: upper bound of DRS.
        drs_at_inference: keep the suppression in stage 4 in evaluation mode.
        stop_gradient_after: residual stages 1..this, and the stem, are not trained; 0 trains all.
        freeze_norm: batch norms keep their running statistics; those of the stem keep their affine part too.

    Raises:
        ValueError: an unknown backbone or output stride.
        InputError: DRS for a backbone that it cannot be attached to.
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
        self.freeze_norm = freeze_norm
        stages = self.backbone.stages()
        if drs:
            suppression.attach(self.backbone, stages[4], self._suppress)
            *_, end_of_third = stages[2].children()
            end_of_third.register_forward_hook(self._suppress_in_training)
        if stop_gradient_after:
            for stage in stages[: stop_gradient_after + 1]:
                stage.requires_grad_(False)
        if weights is not None:
            load_backbone(self.backbone, weights)

    def train(self, mode: bool = True) -> "CAMClassifier":
        """Training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if mode and self.freeze_norm:
            freeze_batch_norm(self.backbone)
            freeze_batch_norm(self.backbone.stages()[0], affine=True)
        return self

    def forward_features(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (B, 3, H, W) to the features that enter the last stage (B, D, h', w') and the class-aware maps
        f (B, C, h, w), before any ReLU."""
        *_, early, last = self.backbone(image)
        return early, self.classifier(last)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (B, 3, H, W) to logits (B, C) = spatial mean of f, and f (B, C, h, w)."""
        _, features = self.forward_features(image)
        return features.mean(dim=(2, 3)), features

    # Forward hooks. As methods they go along with a copy of the network.
    def _suppress(self, block: nn.Module, inputs: tuple, features: torch.Tensor) -> torch.Tensor:
        return self.drs(features) if self.training or self.drs_at_inference else features

    def _suppress_in_training(self, block: nn.Module, inputs: tuple, features: torch.Tensor) -> torch.Tensor:
        return self.drs(features) if self.training else features
