"""All methods that find directions, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from disentangle.errors import ArgumentError, unknown_name
from disentangle.latents.basis import METHOD as BASIS
from disentangle.latents.directions import Directions
from disentangle.latents.ganspace import METHOD as GANSPACE
from disentangle.latents.jacobian import METHOD as JACOBIAN
from disentangle.latents.method import DirectionMethod, moving
from disentangle.latents.random_directions import METHOD as RANDOM
from disentangle.latents.sefa import METHOD as SEFA
from disentangle.latents.style_channels import METHOD as STYLE_CHANNEL
from disentangle.latents.traversal import check_fit
from disentangle.models.base import Generator
from disentangle.plugins import Registry
from disentangle.signatures import checks_arguments, described

__all__ = ["METHODS", "find_directions", "register"]


def _builtin() -> Iterator[DirectionMethod]:
    yield from (SEFA, GANSPACE, BASIS, STYLE_CHANNEL, RANDOM, JACOBIAN)


METHODS = Registry("method", DirectionMethod, _builtin)


def register(method: DirectionMethod) -> DirectionMethod:
    """Add a method of your own to what :func:`find_directions` and the command line know.

    Raises:
        InputError: its name is taken, or a part is missing.
    """
    return METHODS.register(method)


@checks_arguments
def find_directions(
    generator: Generator, method: str = "sefa", *, layers: Sequence[int] | None = None, **options: Any
) -> Directions:
    """Directions of a generator's latent space by the method of a name.

    Args:
        generator: any generator.
        method: a key of :data:`METHODS`.
        layers: rows of w+ that the directions move; sefa also counts the weights of these only.
        options: of the method, such as ``space``, ``top`` and ``seed``; ``METHODS[method].options`` are all.

    Raises:
        InputError: there is no such method or option, one takes the place of another that is given too, or as of the
            method's own function.

    >>> from disentangle.models import build_model
    >>> model = build_model({"kind": "gan", "resolution": 8, "channels": [4, 4], "latent_dim": 3}, seed=0)
    >>> find_directions(model, "random", top=2).vectors.shape
    torch.Size([2, 3])
    """
    chosen = METHODS.find(method)
    known, read = chosen.options, chosen.read_with(options)
    for name in options:
        if name not in known:
            raise unknown_name(f"option of {method}", name, (*known, "layers"))
        if name not in read:
            instead = next(option for option in chosen.replaces if option in options)
            raise ArgumentError(f"{name} is not read where {instead} is given; leave one of them out.")
    if layers is not None and "layers" in known:
        options["layers"] = layers
    found = chosen.find(generator, **options)
    if not isinstance(found, Directions):
        raise ArgumentError(f"The method {method!r} gave {described(found)}; expected Directions.")
    if layers is not None and "layers" not in known:
        found = moving(found, layers)
    check_fit(generator, found)
    return found
