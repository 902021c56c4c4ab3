"""Any module that maps latents to images, as a generator of the toolkit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import nn

from disentangle.checks import check_integer, check_name, check_number
from disentangle.errors import InputError, unknown_name
from disentangle.models.base import Generator, register_model
from disentangle.models.ops.wrapped_modules import (
    LAYERS,
    RANGE,
    WrappedConfig,
    WrappedGenerator,
    WrappedStyleGenerator,
)
from disentangle.signatures import checks_arguments
from disentangle.text import shown

__all__ = ["WrappedConfig", "WrappedGenerator", "WrappedStyleGenerator", "as_generator", "wrap"]

_log = logging.getLogger(__name__)

_SIZES_OF_Z = ("z_dim", "latent_dim", "zdim", "nz")  # attributes in which modules keep it
_SAME = (
    "z_dim",
    "latent_shape",
    "image_range",
    "prior",
    "c_dim",
    "w_dim",
    "num_ws",
)  # in a file and what it fits


@checks_arguments
def wrap(
    module: nn.Module,
    z_dim: int | None = None,
    *,
    latent_shape: tuple[int, ...] | None = None,
    image_range: tuple[float, float] | None = None,
    prior: Literal["normal", "uniform"] = "normal",
    projection: nn.Module | str | None = None,
    classes: int | None = None,
    mapping: nn.Module | str | Callable[..., Any] | None = None,
    synthesis: nn.Module | str | Callable[..., Any] | None = None,
    w_dim: int | None = None,
    num_ws: int | None = None,
    style_layers: Iterable[str] | None = None,
    built_by: str = "",
) -> WrappedGenerator:
    """A generator around ``module``, which is used as it is and not copied.

    Args:
        module: called with latents (n, *latent_shape), and where it has classes with these after them; returns images
            (n, C, H, W).
        z_dim: length of one latent as the toolkit sees it, a flat vector. By default what the module calls ``z_dim``,
            ``latent_dim``, ``zdim`` or ``nz``, else the inputs of its first linear or convolutional layer.
        latent_shape: shape the module expects of one latent, e.g. ``(z_dim, 1, 1)`` for a DCGAN; by default
            ``(z_dim,)``, or that with two ones where only so it runs.
        image_range: range of the module's images, (-1, 1) by default; they are mapped from it to [-1, 1].
        prior: distribution of the latents.
        projection: the linear or convolutional layer that reads the latent, or its dotted name. By default the first
            one whose input has ``z_dim`` features; a generator without any has no projections.
        classes: how many it has, 0 for none; by default what the module calls ``c_dim``. Whether it takes their numbers
            or one-hot rows is found by trying.
        mapping: what makes w of z (and classes), for a generator with the spaces z, w and w+: a part or method of the
            module or its dotted name, another module, or a function. It returns (n, w_dim), or that in every row of w+.
        synthesis: what makes images of w+ (n, num_ws, w_dim), or of w where there is no ``num_ws``; likewise. With a
            mapping, the module itself by default.
        w_dim, num_ws: numbers of a w, and rows of w+; by default what the mapping returns, and then what the synthesis
            calls ``num_ws``.
        style_layers: dotted names of the layers whose weights SeFa reads and projections replace; by default every one
            that multiplies a row of w+, which is seen in a trial.
        built_by: ``module:function`` that makes the module, which :func:`disentangle.save` notes; its class by default.

    Raises:
        InputError: if the module does not accept such latents or does not return images, or the arguments disagree.

    >>> decoder = nn.Sequential(nn.Linear(5, 3 * 8 * 8), nn.Unflatten(1, (3, 8, 8)), nn.Sigmoid())
    >>> generator = wrap(decoder, z_dim=5, image_range=(0, 1))
    >>> generator(generator.sample_latents(2)).shape
    torch.Size([2, 3, 8, 8])
    """
    z_dim = check_integer("z_dim", _told_size(module) if z_dim is None else z_dim, least=1)
    low, high = RANGE if image_range is None else (check_number("image_range", end) for end in image_range)
    if not low < high:
        raise InputError(f"image_range is {image_range}; expected (low, high) with low < high.")
    check_name("prior", prior, ("normal", "uniform"))
    sides = (z_dim,) if latent_shape is None else latent_shape
    shape = tuple(check_integer("latent_shape", side, least=1) for side in sides) or (z_dim,)
    if torch.Size(shape).numel() != z_dim:
        raise InputError(f"latent_shape {shape} holds {torch.Size(shape).numel()} numbers; expected z_dim = {z_dim}.")
    arguments: dict[str, Any] = {
        "z_dim": z_dim, "latent_shape": shape, "image_range": (low, high), "prior": prior,
        "built_by": built_by,
    }  # fmt: skip
    if mapping is None:
        given = {"synthesis": synthesis, "w_dim": w_dim, "num_ws": num_ws, "style_layers": style_layers}
        for name, value in given.items():
            if value is not None:
                raise InputError(f"{name} was given without a mapping, which makes w of z; give mapping= too.")
    elif projection is not None:
        raise InputError("projection is for a module without a mapping; name the layers by style_layers.")

    def tried(count: int) -> WrappedGenerator:
        if mapping is not None:
            styled = WrappedStyleGenerator(
                module, mapping=_part(module, mapping, "mapping"),
                synthesis=_part(module, "" if synthesis is None else synthesis, "synthesis"), classes=count,
                **arguments,
            )  # fmt: skip
            styled.try_spaces(w_dim, num_ws, style_layers)
            return styled
        first = _reader(module, projection, z_dim)
        plain = WrappedGenerator(module, projection=first, classes=count, **arguments)
        either = latent_shape is None and not isinstance(first, nn.Linear)
        plain.try_out((tuple(shape), (z_dim, 1, 1)) if either else (tuple(shape),))
        return plain

    told = getattr(module, "c_dim", 0) if classes is None else 0
    count = check_integer("classes", classes or 0, least=0)
    try:
        generator = tried(told if isinstance(told, int) and told > 0 else count)
    except InputError:
        if not told:
            raise
        generator = tried(count)  # the attribute means something else there
    low, high = generator.seen_range
    if image_range is None and 0 <= low < high <= 1:
        _log.warning(
            "The module's images lie in [%.3g, %.3g] and are taken to be in [-1, 1]; give image_range=(0, 1) if that "
            "is what they are in, as after a Sigmoid.", low, high,
        )  # fmt: skip
    return generator


def as_generator(network: Any, z_dim: int | None = None, *, built_by: str = "") -> Any:
    """A user's network as a generator: as it is where it is one, else wrapped.

    Args:
        network: a module, or a generator.
        z_dim: see :func:`wrap`.
        built_by: see :func:`wrap`.

    Raises:
        InputError: see :func:`wrap`; or if a generator's z has another size than ``z_dim``.
    """
    if not isinstance(network, Generator):
        return wrap(network, z_dim, built_by=built_by)
    own = next(iter(network.spaces.values())).size
    if z_dim not in (None, own):
        raise InputError(f"z_dim is {z_dim}, but what was given is a generator whose latents have {own} numbers.")
    if built_by and isinstance(network, WrappedGenerator):
        network.configure(built_by=built_by)
    return network


def _rebuilt(config: WrappedConfig, network: Any = None) -> WrappedGenerator:
    """The generator of a file's configuration around a module of the user's, or around what they have wrapped."""
    if network is None:
        raise InputError(
            f"This generator is a module of your own, built by {shown(config.built_by)}, and no code is kept in a file "
            "or imported because a file names it; give what builds it: --generator module:function, or "
            "load(path, generator=...)."
        )
    if not isinstance(network, WrappedGenerator):
        if not config.named:
            raise InputError(
                "This generator was wrapped with functions that have no name in its module; expected a function that "
                "returns what disentangle.wrap made, not the module alone."
            )
        parts = dict(network.named_modules())
        for name in (config.first, config.mapping, config.synthesis, *config.layers):
            if name is not None and name not in parts:
                raise InputError(
                    f"What was given has no part {shown(name)!r}, which the file names; expected the module that was "
                    "saved."
                )
        styled: dict[str, Any] = {}
        if config.mapping is not None:
            styled = {"mapping": config.mapping, "synthesis": config.synthesis, "w_dim": config.w_dim,
                      "num_ws": config.num_ws, "style_layers": config.layers}  # fmt: skip
        network = wrap(
            network, config.z_dim, latent_shape=config.latent_shape, image_range=config.image_range,
            prior=config.prior, projection=config.first, classes=config.c_dim, built_by=config.built_by, **styled,
        )  # fmt: skip
    found = network.config
    for field in _SAME:
        if getattr(found, field) != getattr(config, field):
            raise InputError(
                f"What was given has {field} {getattr(found, field)}, but the file {shown(getattr(config, field))}; "
                "expected the generator that was saved."
            )
    if config.entry and network.entry is None:
        network.add_entry()
    return network


register_model(WrappedConfig)(_rebuilt)  # type: ignore[type-var]


def _told_size(module: nn.Module) -> int:
    """The length of a latent, as far as a module tells it."""
    for name in _SIZES_OF_Z:
        size = getattr(module, name, None)
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            return size
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            return layer.in_features
        if isinstance(layer, LAYERS):
            return int(layer.in_channels)  # type: ignore[arg-type]
    raise InputError(f"A {type(module).__name__} does not tell how long its latents are; give z_dim (--z-dim).")


def _reader(module: nn.Module, projection: nn.Module | str | None, z_dim: int) -> nn.Module | None:
    """The layer that reads the latent: the one named, else the first that fits."""
    if projection is None:
        return next((layer for layer in module.modules() if _reads(layer, z_dim)), None)
    layer = _part(module, projection, "projection") if isinstance(projection, str) else projection
    if not _reads(layer, z_dim):
        raise InputError(
            f"projection is {layer}; expected a Linear, Conv2d or ConvTranspose2d layer with {z_dim} inputs."
        )
    return layer


def _reads(layer: nn.Module, z_dim: int) -> bool:
    if isinstance(layer, nn.Linear):
        return layer.in_features == z_dim
    return isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.in_channels == z_dim and layer.groups == 1


def _part(module: nn.Module, part: Any, what: str) -> Any:
    """A part or method of a module by its dotted name, or what was given in place of a name."""
    if isinstance(part, str):
        modules = dict(module.named_modules())
        if part in modules:
            return modules[part]
        owner, _, method = part.rpartition(".")
        found = getattr(modules.get(owner), method, None)
        if not callable(found):
            raise unknown_name(f"part of the module for {what}", part, [name for name in modules if name])
        return found
    if not callable(part):
        raise InputError(f"{what} is a {type(part).__name__}; expected a part of the module, its name, or a function.")
    return part
