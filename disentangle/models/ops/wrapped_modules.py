"""A module of the user's as a generator, with a z alone or with a z, a w and w+; made by :func:`disentangle.wrap`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor, nn

from disentangle.checks import check_integer
from disentangle.errors import InputError, unknown_name
from disentangle.looking import looking_at, looks_at
from disentangle.models.base import (
    GeneratorConfig,
    LatentModule,
    LatentSpace,
    ProjectionLayer,
    StyleLayer,
    check_latents,
)
from disentangle.models.ops.mapped_spaces import MappedModule
from disentangle.models.ops.mapping import class_weights
from disentangle.models.ops.own_calls import OwnCall, find_call
from disentangle.models.ops.style_inputs import layers_reading, rows_of
from disentangle.nn.derived import Derived

__all__ = ["LAYERS", "RANGE", "WrappedConfig", "WrappedGenerator", "WrappedStyleGenerator", "name_in"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Kinds of layers that a projection can take the place of the weight of."""

RANGE = (-1.0, 1.0)
"""Of the images of a generator."""

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MEAN_OF = 4096  # latents behind the mean of w
_LARGEST = 65_536  # numbers of a latent, and classes, that a file may state
_MOST_ROWS = 1_024  # of w+
_WIDEST = 8_192  # a z that a layer is put in front of, whose weight is the square of it


class WrappedConfig(GeneratorConfig):
    """How a module was wrapped. The module itself is the user's code, which no file holds.

    Attributes:
        built_by: what made the module, ``module:function`` or its class: for a reader, never imported by itself.
        first, mapping, synthesis, layers: dotted names in the module; "" is the module itself.
        named: whether these say all, so that the module alone can be wrapped again.
        entry: whether a linear layer was put in front, by :func:`disentangle.nn.project` of "z".
    """

    kind: Literal["wrapped"] = "wrapped"
    built_by: str = ""
    resolution: int | None = pydantic.Field(None, ge=1, description="None where images are not square")
    image_channels: int = pydantic.Field(3, ge=1)
    z_dim: int = pydantic.Field(ge=1, le=_LARGEST)
    latent_shape: tuple[int, ...] = pydantic.Field(max_length=8)
    image_range: tuple[float, float] = RANGE
    prior: Literal["normal", "uniform"] = "normal"
    c_dim: int = pydantic.Field(0, ge=0, le=_LARGEST, description="classes")
    first: str | None = None
    mapping: str | None = None
    synthesis: str | None = None
    w_dim: int | None = pydantic.Field(None, ge=1, le=_LARGEST)
    num_ws: int | None = pydantic.Field(None, ge=1, le=_MOST_ROWS)
    layers: tuple[str, ...] = ()
    named: bool = True
    entry: bool = False

    @property
    def of_own_code(self) -> bool:
        """See :func:`disentangle.models.base.needs_own_code`."""
        return True


class WrappedGenerator(LatentModule):
    """A module that maps z to images, see :func:`disentangle.wrap`.

    Attributes:
        module: the user's.
        config: how it was wrapped.
        c_dim: classes, 0 for none.
        label: the class used where a call gives none.
        entry: a linear layer from z to z in front of the module, made by a projection of "z"; None without one.
        seen_range: of the images of the trial, as the module makes them.
    """

    family = "WrappedGenerator"  # in the fingerprint of its directions
    label: int | None = None
    seen_range = (-1.0, 1.0)

    def __init__(
        self,
        module: nn.Module,
        z_dim: int,
        latent_shape: tuple[int, ...],
        image_range: tuple[float, float],
        prior: Literal["normal", "uniform"],
        projection: nn.Module | None,
        *,
        classes: int = 0,
        built_by: str = "",
    ) -> None:
        super().__init__()
        self.module = module
        self.latent_shape = latent_shape
        self.image_range = image_range
        self.c_dim = classes
        self.entry: nn.Linear | None = None
        self._first = [projection]  # in a list, so that it is not registered a second time
        self._call = OwnCall(module, "none", latent_shape)
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (z_dim,), prior=prior)}
        kind = type(module)
        self.config = WrappedConfig(
            built_by=built_by or f"{kind.__module__}:{kind.__qualname__}", z_dim=z_dim, latent_shape=latent_shape,
            image_range=image_range, prior=prior, c_dim=classes, first=name_in(module, projection),
        )  # fmt: skip

    def forward(self, latents: Tensor, *, space: str | None = None, label: int | Tensor | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        return self._in_range(self._call(self._entered(latents), self._classes(label, len(latents))))

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: torch.Generator | None = None,
        label: int | Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """See :meth:`LatentModule.sample_latents`; which class it is for makes no difference to a z."""
        if any(True for _ in self.parameters()):
            return super().sample_latents(n, space=space, truncation=truncation, generator=generator)
        return self._space(space).sample(n, truncation=truncation, generator=generator)

    def _classes(self, label: int | Tensor | None, n: int) -> Tensor | None:
        return class_weights(self.label if label is None else label, self.c_dim, n=n)

    def _entered(self, z: Tensor) -> Tensor:
        return z if self.entry is None else self.entry(z)

    def _in_range(self, images: Any) -> Tensor:
        low, high = self.image_range
        return images if (low, high) == RANGE else (images - low) * (2 / (high - low)) - 1

    @looks_at("self")
    @torch.no_grad()
    def try_out(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """One trial call in evaluation mode, so that a wrong shape shows up now and not in the middle of a job."""
        latents = self.sample_latents(3 if self.c_dim == 2 else 2, generator=torch.Generator().manual_seed(0))
        try:
            self._call, images = find_call(self.module, latents, self.c_dim, shapes=shapes, what="The module")
        except InputError as error:
            hint = "Pass latent_shape= if it expects another shape, e.g. (z_dim, 1, 1)."
            raise InputError(f"{error} {hint}") from error.__cause__
        self.latent_shape = self._call.shape
        self._took(images, len(latents))

    def _took(self, images: Any, n: int) -> None:
        """Check the images of ``n`` latents and note what they are like."""
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[0] != n:
            given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise InputError(
                f"The module returned {given} for {'two' if n == 2 else 'three'} latents; expected images of shape "
                f"({n}, C, H, W)."
            )
        self.seen_range = float(images.min()), float(images.max())
        channels, height, width = images.shape[1:]
        self.configure(
            latent_shape=self.latent_shape, resolution=width if height == width else None, image_channels=channels
        )

    def configure(self, **fields: Any) -> None:
        """Note something in the configuration."""
        self.config = self.config.model_copy(update=fields)

    # ------------------------------------------------------------------------------------------------ projections

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The layer that reads the latent, if the module has one; a convolution is viewed by its input channels."""
        if self.entry is not None:
            return {"z": self.projection_layer("z")}
        return {} if self._first[0] is None else {"first": self.projection_layer("first")}

    def default_projection_layers(self) -> tuple[str, ...]:
        """The layer that reads the latent, else "z", a layer in front."""
        return tuple(self.projection_layers()) or ("z",)

    def projection_layer(self, name: str) -> ProjectionLayer:
        """By "first", "z", or any name of a linear or convolutional layer in the module."""
        size = self.spaces["z"].size
        modules = dict(self.module.named_modules())
        layer: Any
        if name == "z":
            layer = self.entry or _identity(self._width(), next(self.parameters(), torch.zeros(())))
            self._spare = [layer]
        elif name == "first" and self._first[0] is not None:
            layer = self._first[0]
        elif isinstance(modules.get(name), LAYERS):
            layer = modules[name]
        else:
            known = [key for key, part in modules.items() if isinstance(part, LAYERS) and key]
            raise unknown_name("projection", name, [*self.projection_layers(), "z", *known])
        reads_z = layer is self._first[0] and self.entry is None
        return ProjectionLayer(
            layer, "weight", tuple(range(size)) if name == "z" or reads_z else (), lambda: _matrix(layer),
            latent_first=isinstance(layer, _TRANSPOSED),
        )  # fmt: skip

    def _width(self) -> int:
        size = self.spaces["z"].size
        if size > _WIDEST:
            raise InputError(f"a z of {size:,} numbers is too long for a projection; expected {_WIDEST:,} at most.")
        return size

    def prepare_projection(self, name: str) -> None:
        if name == "z" and self.entry is None:
            self.add_entry(self._spare[0])

    @torch.no_grad()
    def turn_latents(self, rotation: Tensor) -> None:
        """As elsewhere; where no layer is known to read z, one is put in front of the module."""
        if not any(layer.space == "z" for layer in self.projection_layers().values()):
            self.add_entry()
        super().turn_latents(rotation)

    def _turn_layer(self, layer: ProjectionLayer, rotation: Tensor) -> None:
        """A convolution's weight has its inputs in the middle."""
        layer.check_own("of the layer that reads z")
        weight: Tensor = getattr(layer.module, layer.parameter)
        along = 0 if layer.latent_first else 1
        turned = torch.tensordot(rotation, weight.to("cpu", torch.float64), dims=([1], [along]))
        weight.copy_(turned.movedim(0, along))

    def add_entry(self, layer: nn.Linear | None = None) -> None:
        """Put a linear layer, the identity at first, in front of the module."""
        size = self._width()
        self.entry = layer or _identity(size, next(self.parameters(), torch.zeros(())))
        self.configure(entry=True)


class WrappedStyleGenerator(MappedModule, WrappedGenerator):
    """A wrapped module with a w: a mapping, and a synthesis that reads w or its copies, one a layer.

    Attributes:
        mapping, synthesis: how each is called.
        num_ws: rows of a W+ latent; 0 where the synthesis reads one w.
    """

    projection_rank = 10
    num_ws = 0

    def __init__(self, module: nn.Module, *, mapping: Any, synthesis: Any, **arguments: Any) -> None:
        WrappedGenerator.__init__(self, module, projection=None, **arguments)
        parts = [part for part in (mapping, synthesis) if isinstance(part, nn.Module)]
        inside = list(module.modules())
        self.others = nn.ModuleList(part for part in parts if not any(part is own for own in inside))
        self._runs = (mapping, synthesis)  # in a tuple, so that neither is registered a second time
        self._mean_of_w = Derived()
        self._layers: tuple[StyleLayer, ...] = ()
        names = [name_in(module, part) for part in (mapping, synthesis)]
        self.configure(mapping=names[0], synthesis=names[1], named=None not in names)

    @looks_at("self")
    @torch.no_grad()
    def try_spaces(self, w_dim: int | None, num_ws: int | None, layers: Iterable[str] | None) -> None:
        """Trial calls of mapping and synthesis, which tell the sizes that were not given."""
        n, size = (3 if self.c_dim == 2 else 2), self.spaces["z"].size
        z = self.spaces["z"].sample(n, generator=torch.Generator().manual_seed(0)).to(self._reference())
        shapes = (self.latent_shape,)
        self._map, mapped = find_call(self._runs[0], z, self.c_dim, shapes=shapes, what="The mapping")
        if not isinstance(mapped, Tensor) or mapped.ndim not in (2, 3) or len(mapped) != n:
            given = tuple(mapped.shape) if isinstance(mapped, Tensor) else type(mapped).__name__
            raise InputError(f"The mapping returned {given} for {n} latents; expected ({n}, w_dim) or as rows of w+.")
        if mapped.ndim == 3 and not torch.equal(mapped, mapped[:, :1].expand_as(mapped)):
            raise InputError("The mapping returned rows of w+ that differ; expected one w, the same in each row.")
        width = mapped.shape[-1]
        rows = num_ws or (mapped.shape[1] if mapped.ndim == 3 else getattr(self._runs[1], "num_ws", None))
        if w_dim not in (None, width):
            raise InputError(f"w_dim is {w_dim}, but the mapping returned {width} numbers a latent; leave it out.")
        if mapped.ndim == 3 and rows != mapped.shape[1]:
            raise InputError(f"num_ws is {rows}, but the mapping returned {mapped.shape[1]} rows; leave it out.")
        self.num_ws = check_integer("num_ws", rows, least=1) if rows else 0
        spaces = {
            "z": LatentSpace("z", (size,), prior=self.config.prior, truncated_by="call"),
            "w": LatentSpace("w", (width,)),
        }
        if self.num_ws:
            labels = tuple(f"w{row}, {i}" for row in range(self.num_ws) for i in range(width))
            spaces["w+"] = LatentSpace("w+", (self.num_ws, width), labels=labels)
        self.spaces = spaces
        probe = rows_of(max(self.num_ws, 1), width, mapped)
        try:
            self._took(self._painted(probe), len(probe))
            self._layers = layers_reading(self.module, self._painted, probe, named=layers)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # the code is the user's
            expected = f"(2, {self.num_ws}, {width})" if self.num_ws else f"(2, {width})"
            raise InputError(
                f"The synthesis does not accept w of shape {expected}: {str(error)[:200] or type(error).__name__}. "
                "Pass num_ws= for a synthesis that reads a w for each layer, or a function that calls it rightly."
            ) from error
        names = tuple(layer.name for layer in self._layers)
        self.configure(w_dim=width, num_ws=self.num_ws or None, layers=names)

    def forward(
        self, latents: Tensor, *, space: str | None = None, truncation: float | None = None,
        truncation_cutoff: int | None = None, label: int | Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Images of latents of any space, see :meth:`MappedModule.convert_latents`."""
        rows = self.convert_latents(
            latents, self._space(space).name, "w+" if self.num_ws else "w", label=label,
            truncation=1.0 if truncation is None else truncation, truncation_cutoff=truncation_cutoff,
        )  # fmt: skip
        return self._in_range(self._painted(rows if self.num_ws else rows[:, None]))

    def __deepcopy__(self, memo: dict[int, Any]) -> WrappedStyleGenerator:
        """A function in the place of a part is not copied with what it calls, so that there is no copy."""
        for part, run in zip(("mapping", "synthesis"), self._runs, strict=True):
            if not isinstance(run, nn.Module) and not inspect.ismethod(run):
                raise InputError(
                    f"{part} is a function, which a copy of this generator would call on the weights of the first one; "
                    "wrap it with parts or methods of the module, or by their names."
                )
        twin: WrappedStyleGenerator = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers that read w, in the order in which they run."""
        return self._layers

    def _painted(self, rows: Tensor) -> Any:
        return self._runs[1](rows if self.num_ws else rows[:, 0])

    def _reference(self) -> Tensor:
        return next(self.parameters(), torch.zeros(()))

    def _mapped(self, z: Tensor, classes: Tensor | None) -> Tensor:
        mapped: Tensor = self._map(self._entered(z), classes)
        return mapped[:, 0] if mapped.ndim == 3 else mapped

    def _centre(self) -> Tensor:
        kept = getattr(self._runs[0], "w_avg", None)
        if isinstance(kept, Tensor) and kept.shape == self.spaces["w"].shape:
            return kept
        sources = [*self.parameters(), *self.buffers()]

        def mean(*_: Tensor) -> Tensor:
            drawn = self.spaces["z"].sample(_MEAN_OF, generator=torch.Generator().manual_seed(0))
            numbers = torch.arange(_MEAN_OF) % max(self.c_dim, 1)
            label = numbers if self.c_dim else None
            return self._mapped(drawn.to(self._reference()), self.classes(label, _MEAN_OF)).mean(0)

        with torch.no_grad(), looking_at(self):  # a mapping that is training would learn from it
            return self._mean_of_w(mean, *sources)

    # ------------------------------------------------------------------------------------------------ projections

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The layers that read w; before them "z" where a layer was put in front of the mapping."""
        names = (*(("z",) if self.entry is not None else ()), *(layer.name for layer in self._layers))
        return {name: self.projection_layer(name) for name in names}

    def projection_layer(self, name: str) -> ProjectionLayer:
        for layer in self._layers:
            if layer.name == name:
                affine: Any = layer.affine
                coordinates = tuple(range(self.spaces["w"].size))
                return ProjectionLayer(affine.layer, "weight", coordinates, affine.matrix, space="w")
        return super().projection_layer(name)


def name_in(module: nn.Module, part: Any) -> str | None:
    """The dotted name of a part of a module; None for what is none, as a method: no file chooses what is called."""
    return next((name for name, own in module.named_modules() if own is part), None)


def _matrix(layer: nn.Module) -> Tensor:
    """(features, inputs) of a linear layer or a convolution, as of one place."""
    weight: Any = layer.weight
    if isinstance(layer, _TRANSPOSED):
        return weight.flatten(1).mT
    return weight if weight.ndim == 2 else weight.transpose(0, 1).flatten(1).mT


def _identity(size: int, like: Tensor) -> nn.Linear:
    layer = nn.Linear(size, size, bias=False, device="cpu")
    with torch.no_grad():
        layer.weight.copy_(torch.eye(size))
    return layer.to(like) if like.is_floating_point() else layer
