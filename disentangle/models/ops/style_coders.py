"""A decoder whose layers the latent scales and shifts, and the encoder that goes with it.

The picture grows from a trained constant; the latent only sets scale and shift of each normalised map (AdaIN: Huang and
Belongie 2017; Karras et al. 2019). Source of this form, to the order of its operations: Hsu et al., "Disentanglement
via Latent Quantization", NeurIPS 2023, and its released code. There scales and shifts are outputs of a ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["StyleDecoder", "normalised_encoder"]

_SLOPE, _EPS = 0.2, 1e-6


def normalised_encoder(
    image_channels: int, channels: Sequence[int], hidden: int, outputs: int, *, layers: int = 3
) -> nn.Sequential:
    """Pictures (n, image_channels, R, R) to (n, outputs).

    Each entry of ``channels`` stands for ``layers`` convolutions, the last of which halves R, down to 4, each followed
    by an instance norm with weights and a leaky ReLU; then come two hidden layers.
    """
    modules: list[nn.Module] = []
    before = image_channels
    for width in channels:
        for position in range(layers):
            last = position == layers - 1
            modules += [
                nn.Conv2d(before, width, 4 if last else 3, stride=2 if last else 1, padding=1, bias=False),
                nn.InstanceNorm2d(width, eps=_EPS, affine=True),
                nn.LeakyReLU(_SLOPE),
            ]
            before = width
    modules += [nn.Flatten(), nn.Linear(16 * before, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(hidden, outputs))


class _StyleLayer(nn.Module):
    """Transposed convolution, leaky ReLU, instance norm; then scale and shift from the style."""

    def __init__(self, before: int, width: int, style: int, *, doubles: bool) -> None:
        super().__init__()
        kernel, stride = (4, 2) if doubles else (3, 1)
        self.convolution = nn.ConvTranspose2d(before, width, kernel, stride=stride, padding=1, bias=False)
        self.activation = nn.LeakyReLU(_SLOPE)
        self.norm = nn.InstanceNorm2d(width, eps=_EPS)
        self.style = nn.Linear(style, 2 * width)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        scale, shift = torch.relu(self.style(style))[:, :, None, None].chunk(2, dim=1)
        return self.norm(self.activation(self.convolution(features))) * scale + shift


class StyleDecoder(nn.Module):
    """What the first linear layer makes of a latent, (n, hidden), to pictures (n, image_channels, R, R).

    Args:
        image_channels: of the pictures.
        channels: widths as of the encoder, read backwards.
        hidden: width of the style.
        layers: of each width; the last one doubles the resolution.
    """

    def __init__(self, image_channels: int, channels: Sequence[int], hidden: int, *, layers: int = 3) -> None:
        super().__init__()
        before = channels[-1]
        self.constant = nn.Parameter(torch.full((before, 4, 4), 0.1))
        self.mapping = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        blocks = []
        for width in channels[::-1]:
            block = nn.ModuleList()
            for position in range(layers):
                block.append(_StyleLayer(before, width, hidden, doubles=position == layers - 1))
                before = width
            blocks.append(block)
        self.blocks = nn.ModuleList(blocks)
        self.pixels = nn.Conv2d(before, image_channels, 3, padding=1, bias=False)

    def _states(self, features: Tensor) -> tuple[list[Tensor], Tensor]:
        style = self.mapping(features)
        state = self.constant.expand(len(style), -1, -1, -1)
        states = []
        for block in self.blocks:
            for layer in block:  # type: ignore[attr-defined]
                state = layer(state, style)
            states.append(state)
        return [style, *states], state

    def maps(self, features: Tensor) -> list[Tensor]:
        """The style and what each block but the last makes; of ``features`` (n, hidden)."""
        return self._states(features)[0][:-1]

    def forward(self, features: Tensor) -> Tensor:
        return self.pixels(self._states(features)[1])
