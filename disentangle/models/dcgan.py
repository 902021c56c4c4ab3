"""DCGAN: transposed convolutions with batch normalisation.

Source: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pydantic
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

__all__ = ["DCGAN", "DCGANConfig"]

Convolution = tuple[pydantic.PositiveInt, pydantic.PositiveInt, pydantic.NonNegativeInt, pydantic.NonNegativeInt]


class DCGANConfig(GeneratorConfig):
    """Architecture of a :class:`DCGAN`: ``channels`` counts the features after each convolution but the last.

    ``bias`` says which convolutions have one; before a batch normalisation it changes training only. ``convolutions``
    has the kernel, stride, padding and output padding of each; left out, they are the published ones: kernels of 4,
    which make 4 pixels of the latent and double them each time after.
    """

    kind: Literal["dcgan"] = "dcgan"
    resolution: int = pydantic.Field(64, ge=8)
    image_channels: int = pydantic.Field(3, ge=1)
    latent_dim: int = pydantic.Field(100, ge=1)
    channels: tuple[pydantic.PositiveInt, ...] = pydantic.Field((512, 256, 128, 64), min_length=1)
    last: Literal["tanh", "identity"] = "tanh"
    bias: Literal["none", "last", "all"] = "none"
    slope: float = pydantic.Field(0.0, ge=0, description="of the rectifiers below zero; 0 for a plain relu")
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="of the batch normalisations")
    convolutions: tuple[Convolution, ...] = ()

    @property
    def geometry(self) -> tuple[tuple[int, int, int, int], ...]:
        """Kernel, stride, padding and output padding of every convolution."""
        return self.convolutions or ((4, 1, 0, 0), *((4, 2, 1, 0),) * len(self.channels))

    @pydantic.model_validator(mode="after")
    def _fits(self) -> DCGANConfig:
        if self.convolutions:
            return self._drawn()
        if self.resolution != 4 << len(self.channels):
            raise ValueError(
                f"channels has {len(self.channels)} entries, which makes {4 << len(self.channels)} pixels, but "
                f"resolution is {self.resolution}"
            )
        return self

    def _drawn(self) -> DCGANConfig:
        """Whether the convolutions make pictures of the resolution."""
        if len(self.convolutions) != len(self.channels) + 1:
            raise ValueError(
                f"convolutions has {len(self.convolutions)} entries; expected {len(self.channels) + 1}, one more than "
                "channels"
            )
        size = 1
        for kernel, stride, padding, more in self.convolutions:
            if more >= stride and more:
                raise ValueError(f"an output padding of {more} goes with a stride of more than that, not {stride}")
            size = (size - 1) * stride - 2 * padding + kernel + more
            if size < 1:
                raise ValueError(f"a padding of {padding} leaves nothing of a kernel of {kernel}")
        if size != self.resolution:
            raise ValueError(f"convolutions make {size} pixels, but resolution is {self.resolution}")
        return self


@register_model(DCGANConfig)
class DCGAN(LatentModule):
    """Generator from latents (n, latent_dim) to images (n, image_channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.latent_dim, *config.channels)
        *inner, last = config.geometry
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(before, after, *drawn, bias=config.bias == "all")
            for before, after, drawn in zip(widths[:-1], widths[1:], inner, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, eps=config.norm_eps) for channels in config.channels)
        self.to_image = nn.ConvTranspose2d(
            config.channels[-1], config.image_channels, *last, bias=config.bias != "none"
        )
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (config.latent_dim,))}
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.02)

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        x = latents[:, :, None, None]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x))
            x = F.leaky_relu_(x, self.config.slope) if self.config.slope else x.relu_()
        image: Tensor = self.to_image(x)
        return image.tanh() if self.config.last == "tanh" else image

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The first layer: weight (latent_dim, channels, k, k), k pixels wide, viewed as latent_dim rows."""
        first = self.convs[0]
        assert isinstance(first, nn.ConvTranspose2d)
        return {
            "first": ProjectionLayer(
                first, "weight", tuple(range(self.config.latent_dim)), lambda: first.weight.flatten(1).mT,
                latent_first=True,
            )
        }  # fmt: skip
