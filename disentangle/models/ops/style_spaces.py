"""What the StyleGANs share: the latent spaces z, w, w+ and s, the ways from one to the next, truncation and classes.

z is normalised and mapped to w; w+ holds one w for each layer; s holds the styles themselves, the outputs of all
affine layers in the network's order ("StyleSpace", Wu, Lischinski and Shechtman, CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.models.base import GeneratorConfig, LatentSpace, ProjectionLayer, StyleLayer
from disentangle.models.ops.equalized import Activation
from disentangle.models.ops.mapped_spaces import MappedModule
from disentangle.models.ops.mapping import MappingNetwork

__all__ = ["MappedConfig", "StyleBasedModule"]


class MappedConfig(GeneratorConfig):
    """Where the mapping networks of implementations differ; see :class:`MappingNetwork`."""

    mapping_width: int | None = pydantic.Field(None, ge=1, description="of its hidden layers; that of w if left out")
    mapping_activation: Activation = "lrelu"
    mapping_norm: bool = pydantic.Field(True, description="normalise z")
    class_width: int | None = pydantic.Field(None, ge=1, description="numbers of an embedded class; as w if left out")
    class_norm: Literal["apart", "together"] = pydantic.Field(
        "apart", description="normalise the embedded class by itself (ADA), or with z as one vector (before)"
    )


class StyleBasedModule(MappedModule):
    """Base of the style-based generators: a mapping network, style layers, and a synthesis network that reads styles.

    Args:
        config: has ``z_dim``, ``w_dim``, ``mapping_layers``, ``mapping_multiplier``, and ``c_dim`` where there may be
            classes; one that is no :class:`MappedConfig` has that one's defaults.
        synthesis: called with the flat styles and the keywords of the family; has ``style_layers()`` and ``num_ws``.
        gain_first: see :class:`MappingNetwork`.

    Attributes:
        label, num_ws, default_truncation: see :class:`MappedModule`.
    """

    projection_rank = 10

    def __init__(self, config: Any, synthesis: Any, *, gain_first: bool = False) -> None:
        super().__init__()
        self.config = config
        self.c_dim: int = getattr(config, "c_dim", 0)
        made = config if isinstance(config, MappedConfig) else MappedConfig()
        self.mapping = MappingNetwork(
            z_dim=config.z_dim, w_dim=config.w_dim, c_dim=self.c_dim, depth=config.mapping_layers,
            multiplier=config.mapping_multiplier, gain_first=gain_first, hidden=made.mapping_width,
            embedding=made.class_width, class_norm=made.class_norm, activation=made.mapping_activation,
            normalized=made.mapping_norm,
        )  # fmt: skip
        self.synthesis = synthesis
        self.num_ws: int = synthesis.num_ws
        self._layers: tuple[StyleLayer, ...] = synthesis.style_layers()
        width = sum(layer.channels for layer in self._layers)
        names = tuple(f"{layer.name} {i}" for layer in self._layers for i in range(layer.channels))
        rows = tuple(f"w{row}, {i}" for row in range(self.num_ws) for i in range(config.w_dim))
        self.spaces: Mapping[str, LatentSpace] = {
            "z": LatentSpace("z", (config.z_dim,), truncated_by="call"),
            "w": LatentSpace("w", (config.w_dim,)),
            "w+": LatentSpace("w+", (self.num_ws, config.w_dim), labels=rows),
            "s": LatentSpace("s", (width,), labels=names),
        }

    def style_layers(self) -> tuple[StyleLayer, ...]:
        """Every layer that reads a style, in the network's order."""
        return self._layers

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The affine layer of every style layer, from the input on; all read w."""
        coordinates = tuple(range(self.spaces["w"].size))
        return {
            layer.name: ProjectionLayer(
                layer.affine,
                "weight",
                coordinates,
                lambda layer=layer: layer.affine.matrix() * layer.affine.gain,  # type: ignore[misc]
                space="w",
            )
            for layer in self._layers
        }

    def default_projection_layers(self) -> tuple[str, ...]:
        """The convolution that enlarges, of every resolution."""
        return tuple(layer.name for layer in self._layers if layer.name.endswith(".conv0") and layer.ws_index > 0)

    @torch.no_grad()
    def turn_latents(self, rotation: Tensor) -> None:
        """As elsewhere: z is normalised, which no rotation changes, and the first layer of the mapping takes it in."""
        size = self.spaces["z"].size
        if not size or not self.mapping.depth:
            raise InputError("this network maps no z by a layer, so that there is nothing to turn.")
        self.mapping.turn_latents(rotation)

    # ------------------------------------------------------------------------------------------------ latents

    def _reference(self) -> Tensor:
        return self.mapping.w_avg

    def _mapped(self, z: Tensor, classes: Tensor | None) -> Tensor:
        mapped: Tensor = self.mapping(z, classes)
        return mapped

    def _centre(self) -> Tensor:
        return self.mapping.w_avg

    def _styles(self, rows: Tensor) -> Tensor:
        return torch.cat([layer.affine(rows[:, layer.ws_index]) for layer in self._layers], dim=1)

    def forward(
        self, latents: Tensor, *, space: str | None = None, truncation: float | None = None,
        truncation_cutoff: int | None = None, label: int | Tensor | None = None, **options: Any,
    ) -> Tensor:  # fmt: skip
        """Images of latents of any space.

        Args:
            latents: (n, *shape).
            space: theirs, "z" by default.
            truncation, truncation_cutoff, label: see :meth:`convert_latents`; a z is truncated by
                ``default_truncation`` if nothing is said.
            **options: of the synthesis network.
        """
        chosen = self._space(space)
        if truncation is None:
            truncation = self.default_truncation if chosen.name == "z" else 1.0
        styles = self.convert_latents(
            latents, chosen.name, "s", label=label, truncation=truncation, truncation_cutoff=truncation_cutoff
        )
        return self.synthesis(styles, **options)
