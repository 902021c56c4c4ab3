"""DINOv2 as a feature extractor, by timm's vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.errors import CheckpointError, InputError
from disentangle.evaluations.features.weights import load_strictly

__all__ = ["DINOv2"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of images in [0, 1]


class DINOv2(nn.Module):
    """The class token of a ViT trained by DINOv2 (Oquab et al., 2023), 1,024 numbers for ViT-L/14.

    Images in, (n, 3, 224, 224) scaled as (x - 127.5) / 127.5; the weights are those its authors publish, whose
    position embedding, made for 518 pixels, timm resamples.

    Args:
        architecture: timm's name of the transformer.

    Raises:
        InputError: if timm is not installed.
    """

    name = "dinov2-vitl14"
    size = 224
    centre, spread = 127.5, 127.5

    def __init__(self, architecture: str = "vit_large_patch14_dinov2") -> None:
        try:
            import timm
        except ImportError:
            raise InputError(
                "DINOv2 needs timm: install it with `pip install disentangle-toolkit[timm]`, or use another extractor."
            ) from None
        super().__init__()
        network: Any = timm.create_model(architecture, pretrained=False, num_classes=0, img_size=self.size)
        self.network, self.features = network, int(network.num_features)
        self.eval()
        self.requires_grad_(False)

    def load_weights(self, weights: Mapping[str, Tensor]) -> DINOv2:
        """Load the authors' weights.

        Raises:
            CheckpointError: if keys or shapes do not fit.
        """
        from timm.models.vision_transformer import checkpoint_filter_fn

        network: Any = self.network
        what = "DINOv2's ViT-L/14, as in dinov2_vitl14_pretrain.pth"
        try:
            state = checkpoint_filter_fn(dict(weights), network)
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(f"The weights are not {what} ({error}).") from None
        state.pop("mask_token", None)  # of training alone
        load_strictly(network, state, what)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(n, d) class tokens."""
        mean, std = (torch.tensor(values, device=images.device).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))
        tokens: Tensor = self.network(((images + 1) / 2 - mean) / std)
        return tokens
