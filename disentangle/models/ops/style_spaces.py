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

from disentangle.errors import InputError, unknown_name
from disentangle.models.base import (
    GeneratorConfig,
    LatentModule,
    LatentSpace,
    ProjectionLayer,
    StyleLayer,
    check_latents,
)
from disentangle.models.ops.equalized import Activation
from disentangle.models.ops.mapping import MappingNetwork, class_weights

__all__ = ["MappedConfig", "StyleBasedModule"]

_ORDER = ("z", "w", "w+", "s")


class MappedConfig(GeneratorConfig):
    """Where the mapping networks of implementations differ; see :class:`MappingNetwork`."""

    mapping_width: int | None = pydantic.Field(None, ge=1, description="of its hidden layers; that of w if left out")
    mapping_activation: Activation = "lrelu"
    mapping_norm: bool = pydantic.Field(True, description="normalise z")
    class_width: int | None = pydantic.Field(None, ge=1, description="numbers of an embedded class; as w if left out")
    class_norm: Literal["apart", "together"] = pydantic.Field(
        "apart", description="normalise the embedded class by itself (ADA), or with z as one vector (before)"
    )


class StyleBasedModule(LatentModule):
    """Base of the style-based generators: a mapping network, style layers, and a synthesis network that reads styles.

    Args:
        config: has ``z_dim``, ``w_dim``, ``mapping_layers``, ``mapping_multiplier``, and ``c_dim`` where there may be
            classes; one that is no :class:`MappedConfig` has that one's defaults.
        synthesis: called with the flat styles and the keywords of the family; has ``style_layers()`` and ``num_ws``.
        gain_first: see :class:`MappingNetwork`.

    Attributes:
        label: the class used where a call gives none; None in an unconditional network.
        num_ws: rows of a W+ latent.
        default_truncation: psi of a call on z that gives none, 1 but for files whose own software always truncates.
    """

    label: int | None = None
    default_truncation: float = 1.0
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

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0,
        truncation_cutoff: int | None = None, generator: torch.Generator | None = None,
        label: int | Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """``n`` latents of any space: z drawn from N(0, I) on the CPU, then mapped as far as ``space``.

        Args:
            n: how many.
            space: "z" by default.
            truncation: psi; w is pulled to ``w_avg + psi (w - w_avg)``. Not in z, whose length means nothing here.
            truncation_cutoff: the first rows of w+ that truncation acts on; all by default.
            generator: seeds the draw.
            label: class, see :meth:`convert_latents`.
        """
        chosen = self._space(space)
        if chosen.name == "z" and truncation != 1:
            raise InputError(
                f"truncation is {truncation}, but a z of this network is normalised before use, so that shrinking it "
                "changes nothing; sample space 'w' or 'w+', or give the truncation to the call."
            )
        parameter = self.mapping.w_avg
        z = torch.randn(n, *self.spaces["z"].shape, generator=generator).to(parameter.device, parameter.dtype)
        with torch.no_grad():
            return self.convert_latents(
                z, "z", chosen.name, label=label, truncation=truncation, truncation_cutoff=truncation_cutoff
            )

    def convert_latents(
        self, latents: Tensor, source: str, target: str, *, label: int | Tensor | None = None,
        truncation: float = 1.0, truncation_cutoff: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Latents of one space as latents of a later one: z, w, w+, s.

        Args:
            latents: (n, *shape of the source).
            source, target: names of spaces; the target may not come before the source.
            label: class of all, (n,) classes, or (n, c_dim) one-hot or mixed; read only where z is mapped.
            truncation: psi, applied to w where z is mapped; must be 1 otherwise.
            truncation_cutoff: the first rows of w+ it acts on, all by default; needs a target of w+ or s.

        Raises:
            InputError: if the spaces are unknown or in the wrong order, or truncation cannot be applied.
        """
        for name in (source, target):
            if name not in self.spaces:
                raise unknown_name("latent space", name, self.spaces)
        steps = _ORDER.index(target) - _ORDER.index(source)
        if steps < 0:
            raise InputError(f"there is no way from space {source!r} back to {target!r}; expected one of "
                             f"{', '.join(_ORDER[_ORDER.index(source):])}.")  # fmt: skip
        check_latents(latents, self.spaces[source])
        if source != "z" and truncation != 1:
            raise InputError(
                f"truncation is {truncation}, but it acts where z is mapped to w; expected 1 in {source!r}."
            )
        if truncation_cutoff is not None and target in ("z", "w"):
            raise InputError("truncation_cutoff chooses rows of w+; expected a target of 'w+' or 's'.")
        if source == "z" and target != "z":
            latents = self.mapping(latents, self.classes(label, len(latents)))
            if truncation != 1 and truncation_cutoff is None:
                latents = self.mapping.w_avg.to(latents).lerp(latents, truncation)
        if source in ("z", "w") and target in ("w+", "s"):
            latents = latents.unsqueeze(1).expand(-1, self.num_ws, -1)
            if truncation != 1 and truncation_cutoff is not None:
                near = self.mapping.w_avg.to(latents).lerp(latents[:, :truncation_cutoff], truncation)
                latents = torch.cat([near, latents[:, truncation_cutoff:]], dim=1)
            latents = latents.contiguous() if target == "w+" else latents
        if source != "s" and target == "s":
            latents = torch.cat([layer.affine(latents[:, layer.ws_index]) for layer in self._layers], dim=1)
        return latents

    def classes(self, label: int | Tensor | None, n: int) -> Tensor | None:
        """(n, c_dim) weights of classes, ``self.label`` where none is given; see :func:`class_weights`."""
        if not self.c_dim and label is None:
            return None
        return class_weights(self.label if label is None else label, self.c_dim, n=n)

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
