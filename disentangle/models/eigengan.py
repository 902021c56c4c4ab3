"""EigenGAN: a linear subspace of features is added at every resolution of a small convolutional generator.

Source: He, Kan, Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs", ICCV 2021. The subspace bases ``U`` are the
weights that Song, Sebe and Wang (TPAMI 2023) train with the nearest orthogonal gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.models.base import (
    GeneratorConfig,
    LatentModule,
    LatentSpace,
    ProjectionLayer,
    check_latents,
    register_model,
)
from disentangle.nn import SubspaceProjection

__all__ = ["EigenGAN", "EigenGANConfig"]


class EigenGANConfig(GeneratorConfig):
    """Architecture of an :class:`EigenGAN`.

    ``channels`` counts the features entering each block and, last, those entering the output convolution; one block
    doubles the resolution, from 4 pixels on. Left out, it is the published rule: 16 before the output, doubling
    towards the input up to 512.
    """

    kind: Literal["eigengan"] = "eigengan"
    resolution: int = pydantic.Field(64, ge=8)
    image_channels: int = pydantic.Field(3, ge=1)
    basis: int = pydantic.Field(6, ge=1, description="directions of each block")
    noise_dim: int = pydantic.Field(512, ge=1, description="dimension of the input noise")
    channels: tuple[int, ...] = ()
    prior: Literal["normal", "uniform"] = pydantic.Field(
        "normal", description="of the coordinates, of variance 1 either way; the input noise is normal"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _published_channels(cls, record: Any) -> Any:
        if isinstance(record, dict) and not record.get("channels"):
            resolution = record.get("resolution", 64)
            if isinstance(resolution, int) and resolution >= 8:
                blocks = resolution.bit_length() - 3
                record = {**record, "channels": tuple(min(512, 16 * 2 ** (blocks - i)) for i in range(blocks + 1))}
        return record

    @pydantic.model_validator(mode="after")
    def _fits(self) -> EigenGANConfig:
        if self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}; expected a power of two from 8 on")
        if len(self.channels) != self.blocks + 1:
            raise ValueError(
                f"channels has {len(self.channels)} entries; {self.resolution} pixels need {self.blocks + 1} "
                f"({self.blocks} blocks and the output)"
            )
        if self.basis > 16 * self.channels[0]:
            raise ValueError(f"basis is {self.basis}; expected at most {16 * self.channels[0]}, the first feature map")
        return self

    @property
    def blocks(self) -> int:
        return self.resolution.bit_length() - 3


class EigenBlock(nn.Module):
    """Adds a point of a learned subspace to the features and doubles their resolution.

    ``h1 = up(lrelu(h + conv1x1(phi)))``, ``h2 = conv(lrelu(h1 + up'(phi)))`` with ``phi`` from the subspace.
    """

    def __init__(self, size: int, in_channels: int, out_channels: int, basis: int) -> None:
        super().__init__()
        self.projection = SubspaceProjection(basis, in_channels * size * size)
        double = partial(nn.ConvTranspose2d, kernel_size=3, stride=2, padding=1, output_padding=1)
        self.subspace_conv1 = nn.ConvTranspose2d(in_channels, in_channels, 1)
        self.subspace_conv2 = double(in_channels, out_channels)
        self.feature_conv1 = double(in_channels, out_channels)
        self.feature_conv2 = nn.ConvTranspose2d(out_channels, out_channels, 3, padding=1)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """(n, in, s, s) features and (n, basis) coordinates to (n, out, 2s, 2s)."""
        if len(z) > z.shape[1] + 1:
            # The subspace is linear, and so are the convolutions that read it: convolving its k + 1 maps once and
            # combining the results gives the same as convolving n pictures, for less.
            maps = torch.cat([self.projection.matrix().mT, self.projection.mu.unsqueeze(0)])
            coordinates = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
        else:
            maps, coordinates = self.projection(z), None
        maps = maps.reshape(-1, *h.shape[1:])
        h = self.feature_conv1(F.leaky_relu(h + _of_subspace(self.subspace_conv1, maps, coordinates), 0.2))
        return self.feature_conv2(F.leaky_relu(h + _of_subspace(self.subspace_conv2, maps, coordinates), 0.2))


def _of_subspace(conv: nn.ConvTranspose2d, maps: Tensor, coordinates: Tensor | None) -> Tensor:
    """``conv`` of each picture's point: of (n, C, s, s) points themselves, or of ``coordinates`` (n, m) times m maps.

    The last map is the origin, so its coordinate is 1 and it alone carries the bias.
    """
    if coordinates is None:
        return conv(maps)
    assert not isinstance(conv.padding, str)
    assert conv.bias is not None
    spread = F.conv_transpose2d(maps, conv.weight, None, conv.stride, conv.padding, conv.output_padding)
    spread = torch.cat([spread[:-1], spread[-1:] + conv.bias[:, None, None]])
    m, channels, height, width = spread.shape
    combined = coordinates @ spread.permute(0, 2, 3, 1).reshape(m, -1)
    return combined.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


@register_model(EigenGANConfig)
class EigenGAN(LatentModule):
    """Generator with a latent of two parts: input noise, then the coordinates of each block's subspace.

    One latent is a flat vector of ``noise_dim + blocks * basis`` numbers, block by block from the coarsest; a
    traversal walks the coordinates only. Images are (n, image_channels, resolution, resolution) in [-1, 1].
    """

    def __init__(self, config: EigenGANConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.fc = nn.Linear(config.noise_dim, 16 * channels[0])
        self.blocks = nn.ModuleList(
            EigenBlock(4 * 2**i, channels[i], channels[i + 1], config.basis) for i in range(config.blocks)
        )
        self.to_image = nn.Conv2d(channels[-1], config.image_channels, 7, padding=3)
        coordinates = config.blocks * config.basis
        walk = tuple(range(config.noise_dim, config.noise_dim + coordinates))
        self.spaces: Mapping[str, LatentSpace] = {
            "z": LatentSpace(
                "z",
                (config.noise_dim + coordinates,),
                walk=walk,
                labels=tuple(f"block {i}, {j}" for i in range(config.blocks) for j in range(config.basis)),
                uniform=walk if config.prior == "uniform" else (),
            )
        }

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        noise, coordinates = latents.split([self.config.noise_dim, self.config.blocks * self.config.basis], dim=1)
        h = self.fc(noise).reshape(len(latents), -1, 4, 4)
        for block, z in zip(self.blocks, coordinates.split(self.config.basis, dim=1), strict=True):
            h = block(h, z)
        return self.to_image(F.leaky_relu(h, 0.2)).tanh()

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The subspace basis of each block, coarsest first."""
        found = {}
        for depth, block in enumerate(self.blocks):
            assert isinstance(block, EigenBlock)
            start = self.config.noise_dim + depth * self.config.basis
            coordinates = tuple(range(start, start + self.config.basis))
            found[f"block{depth}"] = ProjectionLayer(
                block.projection, "U", coordinates, block.projection.matrix, latent_first=True,
                importance=block.projection.L,
            )  # fmt: skip
        return found

    def _turn_layer(self, layer: ProjectionLayer, rotation: Tensor) -> None:
        assert isinstance(layer.module, SubspaceProjection)
        layer.module.turn(rotation)
