"""What the toolkit asks of a model: two protocols, the description of a latent space, and the registry of kinds.

Images that a generator returns are float in [-1, 1]; images that a data set renders and an encoder takes are float in
[0, 1]. Both are (n, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from disentangle.config import Config, parse_config
from disentangle.errors import ArgumentError, ConfigError, InputError, unknown_name
from disentangle.looking import own_randomness
from disentangle.models.spaces import LatentSpace, check_latents
from disentangle.nn.baking import bake
from disentangle.nn.project import ProjectionConfig, apply_projection
from disentangle.signatures import checks_arguments

__all__ = [
    "Encoder",
    "Generator",
    "GeneratorConfig",
    "LatentSpace",
    "Projection",
    "ProjectionLayer",
    "StyleLayer",
    "build_model",
    "check_latents",
    "class_option",
    "config_class",
    "has_encoder",
    "misfits",
    "model_kinds",
    "needs_own_code",
    "register_model",
]


@dataclass(frozen=True)
class Projection:
    """The layer whose weight carries a latent into features: what treatments train and discovery reads.

    Attributes:
        parameter: the trained weight, for :func:`disentangle.orthogonalize`.
        space: name of the latent space it reads.
        depth: position among the generator's projections, 0 nearest the input.
        coordinates: positions in the flattened latent, one a column of :meth:`matrix`.
        linear_map: computes the matrix from the current weights.
        weight: computes the weight the layer uses, where ``parameter`` is only the free parameter behind it (an
            orthogonal or spectrally normalised weight); None where the two are one.
        importance: (latent_dim,) the trained length of each direction, where the layer has one beside its weight; None
            elsewhere.
        basis: (rank, latent_dim) computes the orthonormal directions that a weight of fixed rank passes, with singular
            values of one that no decomposition could tell apart; None elsewhere.
    """

    parameter: Tensor
    space: str
    depth: int
    coordinates: tuple[int, ...]
    linear_map: Callable[[], Tensor] = field(repr=False)
    weight: Callable[[], Tensor] | None = field(default=None, repr=False)
    basis: Callable[[], Tensor] | None = field(default=None, repr=False)
    importance: Tensor | None = field(default=None, repr=False)

    def matrix(self) -> Tensor:
        """(features, latent_dim): the linear map from the latent's coordinates to features, as it is now."""
        return self.linear_map()


@dataclass(frozen=True)
class ProjectionLayer:
    """Where a projection's weight lies, so that it can be made orthogonal.

    Attributes:
        module: the layer.
        parameter: the name of its weight, two dimensions or more.
        space, coordinates, linear_map, importance: as of a :class:`Projection`.
        latent_first: whether the weight's first dimension is the latent's, not its last ones.
    """

    module: nn.Module
    parameter: str
    coordinates: tuple[int, ...]
    linear_map: Callable[[], Tensor] = field(repr=False)
    space: str = "z"
    latent_first: bool = False
    importance: Tensor | None = field(default=None, repr=False)

    def projection(self, depth: int) -> Projection:
        """The projection as it is now: of an orthogonal weight, the free parameter on the latent's side is trained."""
        if not parametrize.is_parametrized(self.module, self.parameter):
            own = getattr(self.module, self.parameter)
            return Projection(
                own, self.space, depth, self.coordinates, self.linear_map, importance=self.importance
            )  # fmt: skip
        steps: Any = self.module.parametrizations
        chain = steps[self.parameter]
        basis = None
        if hasattr(chain, "original"):
            free = chain.original
        else:
            side = "left" if self.latent_first else "right"
            free = chain.original0 if self.latent_first else chain.original1
            if len(free) == len(self.coordinates):  # else its filters are larger than the one place of a latent
                basis = lambda: chain[0].basis(free, side)  # noqa: E731
        return Projection(
            free, self.space, depth, self.coordinates, self.linear_map,
            weight=lambda: getattr(self.module, self.parameter), basis=basis, importance=self.importance,
        )  # fmt: skip

    def check_own(self, which: str) -> None:
        """Whether the weight can be replaced.

        Args:
            which: of the layers, for the message.

        Raises:
            InputError: something else makes the weight anew before each call.
        """
        if self.parameter not in self.module._parameters and not parametrize.is_parametrized(self.module):
            raise InputError(
                f"The weight {which} is no parameter of its own, as after torch.nn.utils.spectral_norm; remove that "
                "first, or name another layer."
            )

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Make the plain weight read ``R z`` as it read z; ``rotation`` is (d, d), float64, on the CPU."""
        weight: Tensor = getattr(self.module, self.parameter)
        R, wide = rotation, weight.to("cpu", torch.float64)
        weight.copy_(torch.tensordot(R, wide, dims=1) if self.latent_first else torch.tensordot(wide, R.mT, dims=1))


@dataclass(frozen=True)
class StyleLayer:
    """One layer of a style-based generator and where its style comes from.

    Attributes:
        name: "b8.conv0", "b8.torgb", "L3_36_512".
        kind: what the style modulates: features, the image, or the input.
        ws_index: which row of a W+ latent it reads.
        resolution: pixels along a side of what it makes.
        affine: the linear layer from w to the style; its ``matrix()`` is the (channels, w_dim) weight as stored.
        start: position of its first style channel in the flattened S latent.
        channels: numbers in its style.
    """

    name: str
    kind: Literal["conv", "torgb", "input"]
    ws_index: int
    resolution: int
    affine: nn.Module = field(repr=False)
    start: int
    channels: int


@runtime_checkable
class Generator(Protocol):
    """Anything that turns latents into images. A user's own module may simply have these members."""

    spaces: Mapping[str, LatentSpace]

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor: ...

    def __call__(self, latents: Tensor, *, space: str | None = None) -> Tensor: ...

    def projections(self) -> Mapping[str, Projection]: ...


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns images (n, C, H, W) in [0, 1] into codes (n, d)."""

    def encode(self, images: Tensor) -> Tensor: ...


class GeneratorConfig(Config):
    """What the configurations of all generators have: whether, and how, their projections are orthogonal."""

    projection: ProjectionConfig | None = None
    turned: str | None = pydantic.Field(
        None, pattern="^[0-9a-f]{8}$", description="hash of the rotations of z since it was trained"
    )

    @pydantic.model_serializer(mode="wrap")
    def _untold_unless_turned(self, usual: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        record = usual(self)
        if record.get("turned") is None:  # so that earlier versions read the file
            record.pop("turned", None)
        return record


class LatentModule(nn.Module):
    """The part all our generators share: sampling from their spaces, checking what comes in, naming projections.

    Attributes:
        projection_rank: rank of projections made orthogonal, where none is asked for; None for the full one.
        projection_gain: what a StyleGAN's orthogonal affine weight is multiplied by.
    """

    spaces: Mapping[str, LatentSpace]
    projection_rank: int | None = None
    projection_gain: Literal["one", "equalized"] = "one"

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """Where the projections' weights lie, by name, ordered by depth; none by default."""
        return {}

    def projection_layer(self, name: str) -> ProjectionLayer:
        """The layer of a name that :func:`disentangle.nn.project` may replace the weight of.

        Raises:
            InputError: if there is none.
        """
        known = self.projection_layers()
        if name not in known:
            raise unknown_name("projection", name, known)
        return known[name]

    def prepare_projection(self, name: str) -> None:
        """Called before the weight of a layer is replaced, when it is known that all of them can be."""

    def default_projection_layers(self) -> tuple[str, ...]:
        """The projections that are made orthogonal where none are named."""
        return tuple(self.projection_layers())

    def projections(self) -> dict[str, Projection]:
        """The layers that carry the latent into features, by name, ordered by depth."""
        return {name: layer.projection(depth) for depth, (name, layer) in enumerate(self.projection_layers().items())}

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` latents from the prior on the module's device; drawn on the CPU: a seed means the same anywhere."""
        latents = self._space(space).sample(n, truncation=truncation, generator=generator)
        reference = next(self.parameters())
        return latents.to(reference.device, reference.dtype)

    def turn_latents(self, rotation: Tensor) -> None:
        """Rotate z in place: what came from z comes from ``R z`` afterwards.

        Orthogonal weights that read z become plain ones first. What mixes coordinates that different layers read
        cannot be done, and is not noticed here: see :func:`disentangle.latents.turn`.

        Args:
            rotation: (d, d) orthogonal, float64, on the CPU.

        Raises:
            InputError: if no linear layer reads z.
        """
        layers = [layer for layer in self.projection_layers().values() if layer.space == "z"]
        if not layers:
            raise InputError(
                f"a {type(self).__name__} has no linear layer that reads its z, which could take the rotation in."
            )
        if any(parametrize.is_parametrized(layer.module, layer.parameter) for layer in layers):
            bake(self)
            layers = [layer for layer in self.projection_layers().values() if layer.space == "z"]
        for layer in layers:
            self._turn_layer(layer, rotation[list(layer.coordinates)][:, list(layer.coordinates)])

    def _turn_layer(self, layer: ProjectionLayer, rotation: Tensor) -> None:
        layer.turn(rotation)

    def _space(self, name: str | None) -> LatentSpace:
        if name is None:
            return next(iter(self.spaces.values()))
        if name not in self.spaces:
            raise unknown_name("latent space", name, self.spaces)
        return self.spaces[name]


def class_option(generator: Any, label: int | None) -> dict[str, Any]:
    """The keyword that hands a class to a generator's calls; empty for none.

    Raises:
        InputError: if the generator has no classes.
    """
    if label is None:
        return {}
    if not getattr(generator, "c_dim", 0):
        raise ArgumentError(f"label is {label}, but this generator has no classes; leave it out.")
    return {"label": label}


# ------------------------------------------------------------------------------------------------ registry of kinds

_registry: dict[str, tuple[type[Config], Callable[..., nn.Module]]] = {}
ModelT = TypeVar("ModelT", bound=type[nn.Module])


def register_model(config: type[Config]) -> Callable[[ModelT], ModelT]:
    """Class decorator: models whose configuration is ``config`` (its ``kind`` field names them) are built by it."""
    kind = config.model_fields["kind"].default

    def add(model: ModelT) -> ModelT:
        _registry[kind] = (config, model)
        return model

    return add


def misfits(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, optional: Collection[str] = ()
) -> list[str]:
    """What keeps the tensors of a file from being a network's, one phrase each; none if they fit.

    Args:
        found: tensors of the file by name.
        expected: the network's ``state_dict``.
        optional: names that the file may lack.
    """
    problems = [f"missing {name}" for name in expected if name not in found and name not in optional]
    problems += [f"unexpected {name}" for name in found if name not in expected]
    problems += [
        f"{name} has shape {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return problems


def model_kinds() -> tuple[str, ...]:
    """Names of all registered kinds of model."""
    import disentangle.models  # noqa: F401  (its modules register themselves)

    return tuple(sorted(_registry))


def config_class(kind: str) -> type[Config]:
    """The configuration class of a kind of model."""
    if kind not in model_kinds():
        raise unknown_name("kind of model", kind, model_kinds())
    return _registry[kind][0]


def has_encoder(kind: str) -> bool:
    """Whether models of a kind encode images, as far as can be told from its name."""
    return kind not in model_kinds() or hasattr(_registry[kind][1], "encode")


def needs_own_code(config: Config) -> bool:
    """Whether models of this configuration are made of a module of the user's, which no file holds."""
    return bool(getattr(config, "of_own_code", False))


@checks_arguments
def build_model(
    config: Config | Mapping[str, Any], *, seed: int | None = None, module: nn.Module | None = None
) -> nn.Module:
    """A model of the configured architecture with random weights.

    Args:
        config: a model configuration, or the plain containers of one with its ``kind``.
        seed: initialises the weights reproducibly; the global random state is put back afterwards.
        module: the user's own, for the kind that needs one (a wrapped generator); it is used and not copied.

    Raises:
        ConfigError: if the configuration does not validate.
        InputError: if its kind is unknown.
    """
    if not isinstance(config, Config):
        if not isinstance(config, Mapping) or not isinstance(config.get("kind"), str):
            raise ConfigError("The model's configuration has no 'kind'; expected an object with a kind of model.")
        config = parse_config(config_class(config["kind"]), config, source="the model's configuration")
    if seed is None:
        return _built(config, module)
    with own_randomness(seed):
        return _built(config, module)


def _built(config: Config, module: nn.Module | None) -> nn.Module:
    _, build = _registry[config.kind]  # type: ignore[attr-defined]
    if module is not None and not needs_own_code(config):
        raise InputError(
            f"A module was given for a {config.kind}, which the toolkit builds itself; leave it out."  # type: ignore[attr-defined]
        )
    model = build(config) if module is None else build(config, module)
    projection = getattr(config, "projection", None)
    return model if projection is None else apply_projection(model, projection, fit=False)
