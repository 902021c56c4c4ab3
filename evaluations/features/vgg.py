"""VGG16 as a feature extractor: the 4,096 numbers of its second hidden layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from disentangle.evaluations.features.weights import load_strictly

__all__ = ["VGG16"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of images in [0, 1]


class VGG16(nn.Module):
    """torchvision's VGG16 up to the ReLU after its second fully connected layer.

    What precision and recall are measured on in StyleGAN's code and in torch-fidelity (``fc2_relu``). Images in,
    (n, 3, 224, 224) scaled as (x - 127.5) / 127.5; out, (n, 4096). torchvision's weights, their normalisation inside.
    """

    name = "vgg16"
    size = 224
    features = 4096
    centre, spread = 127.5, 127.5

    def __init__(self) -> None:
        from torchvision.models import vgg16

        super().__init__()
        self.network = vgg16(weights=None, init_weights=False)
        self.eval()
        self.requires_grad_(False)

    def load_weights(self, weights: Mapping[str, Tensor]) -> VGG16:
        """Load torchvision's weights, every key of which must be there.

        Raises:
            CheckpointError: if keys or shapes do not fit.
        """
        load_strictly(self.network, weights, "torchvision's VGG16, as in vgg16-397923af.pth")
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(n, 4096) features."""
        mean, std = (torch.tensor(values, device=images.device).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))
        scaled = ((images + 1) / 2 - mean) / std
        pooled = self.network.avgpool(self.network.features(scaled)).flatten(1)
        return self.network.classifier[:5](pooled)
