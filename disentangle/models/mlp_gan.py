"""The first kind of generator: fully connected layers from a latent to all pixels at once.

Source: Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014; with leaky rectifiers and a tanh at the end, as
it has been written since Radford, Metz, Chintala, ICLR 2016.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import pydantic
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle.models.base import (
    GeneratorConfig,
    LatentModule,
    LatentSpace,
    ProjectionLayer,
    check_latents,
    register_model,
)

__all__ = ["MLPGAN", "MLPGANConfig"]


class MLPGANConfig(GeneratorConfig):
    """Architecture of an :class:`MLPGAN`; ``image_shape`` is (channels, height, width), ``slope`` the rectifiers'.

    ``norms`` says of each hidden layer whether a batch normalisation follows it; none does where it is left out.
    """

    kind: Literal["mlp-gan"] = "mlp-gan"
    image_shape: tuple[pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt] = (1, 28, 28)
    latent_dim: int = pydantic.Field(100, ge=1)
    hidden: tuple[pydantic.PositiveInt, ...] = pydantic.Field((256, 512, 1024), min_length=1)
    slope: float = pydantic.Field(0.2, ge=0, lt=1)
    norms: tuple[bool, ...] = ()
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="of the batch normalisations")
    last: Literal["tanh", "identity"] = "tanh"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> MLPGANConfig:
        if self.norms and len(self.norms) != len(self.hidden):
            raise ValueError(f"norms has {len(self.norms)} entries; expected one for each of {len(self.hidden)} layers")
        return self

    @property
    def image_channels(self) -> int:
        return self.image_shape[0]

    @property
    def resolution(self) -> int:
        return self.image_shape[1]


@register_model(MLPGANConfig)
class MLPGAN(LatentModule):
    """Generator from latents (n, latent_dim) to images (n, *image_shape) in [-1, 1]."""

    def __init__(self, config: MLPGANConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.latent_dim, *config.hidden, math.prod(config.image_shape))
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(width, eps=config.norm_eps) if normalised else nn.Identity()
            for width, normalised in zip(config.hidden, config.norms or (False,) * len(config.hidden), strict=True)
        )
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (config.latent_dim,))}

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        x = check_latents(latents, self._space(space))
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), self.config.slope)
        image: Tensor = self.layers[-1](x)
        return (image.tanh() if self.config.last == "tanh" else image).reshape(-1, *self.config.image_shape)

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The first layer: weight (features, latent_dim)."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        coordinates = tuple(range(self.config.latent_dim))
        return {"first": ProjectionLayer(first, "weight", coordinates, lambda: first.weight)}
