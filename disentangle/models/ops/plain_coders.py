"""The convolutional encoder and decoder that disentanglement studies share.

4x4 convolutions of stride 2, one hidden layer, ReLU: Burgess et al., "Understanding disentangling in beta-VAE" (2018).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["PlainDecoder", "plain_encoder"]


def plain_encoder(image_channels: int, channels: Sequence[int], hidden: int, outputs: int) -> nn.Sequential:
    """Pictures (n, image_channels, R, R) to (n, outputs); each entry of ``channels`` halves R, down to 4."""
    layers: list[nn.Module] = []
    before = image_channels
    for width in channels:
        layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.ReLU()]
        before = width
    layers += [nn.Flatten(), nn.Linear(16 * before, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


class PlainDecoder(nn.Sequential):
    """What the first linear layer makes of a latent, (n, hidden), to pictures (n, image_channels, R, R)."""

    def __init__(self, image_channels: int, channels: Sequence[int], hidden: int) -> None:
        before = channels[-1]
        layers: list[nn.Module] = [nn.ReLU(), nn.Linear(hidden, 16 * before), nn.ReLU()]
        layers.append(nn.Unflatten(1, (before, 4, 4)))
        for width in (*channels[-2::-1], image_channels):
            layers += [nn.ConvTranspose2d(before, width, 4, stride=2, padding=1), nn.ReLU()]
            before = width
        super().__init__(*layers[:-1])

    def maps(self, features: Tensor) -> list[Tensor]:
        """What each layer but the last makes after its ReLU; of ``features`` (n, hidden)."""
        found = []
        for layer in list(self)[:-1]:
            features = layer(features)
            if isinstance(layer, nn.ReLU):
                found.append(features)
        return found
