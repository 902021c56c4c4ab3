"""Orthogonal projections for a generator that has none: its projection layers keep their place and their use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

import pydantic
from torch import Tensor, nn
from torch.nn.utils import parametrize

from disentangle.checks import check_integer
from disentangle.config import Config
from disentangle.errors import InputError, unknown_name
from disentangle.nn.low_rank import LowRankOrthogonal
from disentangle.nn.orthogonal import orthogonal_weight
from disentangle.nn.parametrized import parametrized
from disentangle.nn.unit_vectors import UnitVectors
from disentangle.signatures import checks_arguments, described

__all__ = ["ProjectionConfig", "apply_projection", "project"]

_OURS = "disentangle."  # modules of the parametrisations made here
KINDS = ("householder", "cayley", "matrix_exp", "polar", "unit")
GeneratorT = TypeVar("GeneratorT", bound=nn.Module)


class ProjectionConfig(Config):
    """Which weights of a generator are orthogonal, and how; see :func:`project`.

    Attributes:
        kind: how a frame is made of free parameters. ``"unit"`` makes none: its vectors have length one at any angle to
            each other, which is what orthogonal weights are compared with.
        rank: directions of each layer; None for the generator's own choice.
        layers: names of projections; none for the generator's own choice.
        gain: what a StyleGAN's orthogonal weight is multiplied by in use: one, as in the authors' StyleGAN2, or He's
            constant, as in their StyleGAN3; None for the generator's own choice.
    """

    kind: Literal["householder", "cayley", "matrix_exp", "polar", "unit"] = "householder"
    rank: int | None = pydantic.Field(None, ge=1)
    layers: tuple[str, ...] = ()
    gain: Literal["one", "equalized"] | None = None


@checks_arguments
def project(
    generator: GeneratorT,
    kind: Literal["householder", "cayley", "matrix_exp", "polar", "unit"] = "householder",
    rank: int | None = None,
    layers: Iterable[str] | None = None,
) -> GeneratorT:
    """Replace the weights of a generator's projections by orthogonal ones, each starting at the nearest to its own.

    A StyleGAN's affine layers get weights of ``rank`` 10, whose directions of w are then exact by construction: in
    StyleGAN2 those of the convolution that enlarges, in StyleGAN3 of every fourth layer, as published. Other families
    have the one layer that reads the latent (an EigenGAN one a block), of full rank.

    Args:
        generator: one of the toolkit's; it is changed in place.
        kind: ``"householder"``, a product of k reflections a side (Song et al., ICCV 2023); ``"polar"``, the nearest
            orthogonal matrix; ``"cayley"`` and ``"matrix_exp"``, torch's maps. ``"unit"``: not orthogonal, vectors of
            length one only, the control for all others; of full rank.
        rank: directions a layer passes, with a singular value of one; the others it does not. By default 10 for
            StyleGANs (or as many as there are), else all.
        layers: names of ``generator.projections()``, or as above; by default as above.

    Returns:
        The same generator. Its ``config.projection`` says what was done, so that :func:`disentangle.save` keeps it.

    Raises:
        InputError: if the generator has no projection layers, a name is unknown, the rank is above a layer's, or the
            generator is projected already (:func:`disentangle.nn.bake` it first).
    """
    if kind not in KINDS:
        raise unknown_name("kind of projection", str(kind), KINDS)
    rank = None if rank is None else check_integer("rank", rank, least=1)
    config = ProjectionConfig(kind=kind, rank=rank, layers=tuple(layers or ()))
    return apply_projection(generator, config, fit=True)


def apply_projection(generator: GeneratorT, config: ProjectionConfig, *, fit: bool) -> GeneratorT:
    """:func:`project` by a configuration; without ``fit`` the weights start anywhere, to be read from a file."""
    own: Any = generator
    names = config.layers
    if not names and hasattr(generator, "default_projection_layers"):
        names = tuple(own.default_projection_layers())
    if not names or not hasattr(generator, "projection_layer"):
        raise InputError(f"A{described(generator)[1:]} names no projection layers; expected a generator that has some.")
    known: Mapping[str, Any] = {name: own.projection_layer(name) for name in names}
    places = {(id(layer.module), layer.parameter) for layer in known.values()}
    if len(places) < len(names):
        raise InputError(f"layers are {', '.join(map(repr, names))}, of which two are one layer; name each once.")
    gain = config.gain or own.projection_gain
    usual = None if config.kind == "unit" else own.projection_rank
    ranks = {name: _rank_of(name, known, config.rank, usual) for name in names}
    for name in names:
        known[name].check_own(f"of {name!r}")
        _check_sharing(generator, name, [known[other] for other in names], known[name])
        weight = getattr(known[name].module, known[name].parameter)
        if config.kind == "unit" and ranks[name] < min(weight.shape[0], weight[0].numel()):
            raise InputError(f"rank is {ranks[name]}, but kind 'unit' has no rank; leave it out.")
    for name, rank in ranks.items():  # only now, when all of them fit
        own.prepare_projection(name)
        layer = known[name]
        weight = getattr(layer.module, layer.parameter)
        if config.kind == "unit":
            parametrized(layer.module, layer.parameter, UnitVectors())
        elif rank == min(weight.shape[0], weight[0].numel()) and config.kind != "householder":
            orthogonal_weight(layer.module, layer.parameter, method=config.kind)
        else:
            inner = LowRankOrthogonal(config.kind, weight.shape, rank, fit=fit).to(weight)
            parametrized(layer.module, layer.parameter, inner)
        if gain == "one" and hasattr(layer.module, "he_gain"):
            layer.module.gain = 1.0
    own.config = own.config.model_copy(update={"projection": config.model_copy(update={"layers": names, "gain": gain})})
    return generator


def _rank_of(name: str, known: Mapping[str, Any], wanted: int | None, usual: int | None) -> int:
    """The rank that a layer's weight gets, or an InputError if the layer is taken or too small."""
    layer = known[name]
    if parametrize.is_parametrized(layer.module, layer.parameter):
        steps: Any = layer.module.parametrizations
        others = [type(step).__name__ for step in steps[layer.parameter] if not type(step).__module__.startswith(_OURS)]
        if others:
            raise InputError(
                f"The weight of {name!r} is parametrised by {others[0]}; end that with "
                "torch.nn.utils.parametrize.remove_parametrizations first, or name other layers."
            )
        raise InputError(f"The projection {name!r} is orthogonal already; call disentangle.nn.bake first.")
    weight: Tensor = getattr(layer.module, layer.parameter)
    rows, columns = weight.shape[0], weight[0].numel()
    largest = min(rows, columns)
    rank = min(usual or largest, largest) if wanted is None else wanted
    if rank > largest:
        raise InputError(
            f"rank is {rank}, but the projection {name!r} is {rows}x{columns}; expected at most {largest}, or other "
            "layers."
        )
    return rank


def _check_sharing(generator: nn.Module, name: str, chosen: list[Any], layer: Any) -> None:
    """Raise where a weight that is to become orthogonal is also that of a layer that is not."""
    weight = getattr(layer.module, layer.parameter)
    places = {(id(other.module), other.parameter) for other in chosen}
    for path, module in generator.named_modules():
        for parameter, held in module._parameters.items():
            if held is weight and (id(module), parameter) not in places:
                raise InputError(
                    f"The projection {name!r} shares its weight with {path or type(module).__name__!r}, which is not "
                    "to be projected; name both, or give them weights of their own."
                )
