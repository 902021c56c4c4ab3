"""MODEL, wherever a command asks for a generator: a model of the toolkit, or a module of the user's by --generator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

__all__ = ["ModelSource", "generator_options", "model_argument"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class ModelSource:
    """What was given as MODEL, as --generator, or as both: the weights of a file and the code they are for.

    Attributes:
        model: a name, a run folder or a file, or None.
        generator: ``module:function`` or ``file.py:function``, or None.
        z_dim: length of a latent, where the code does not tell it.
    """

    model: str | None
    generator: str | None = None
    z_dim: int | None = None

    def __post_init__(self) -> None:
        if self.z_dim is not None and self.generator is None:
            raise click.UsageError("--z-dim is for --generator; the models of the toolkit know theirs.")
        if self.z_dim is not None and self.model is not None:
            raise click.UsageError("--z-dim is for a module without a file; leave it out, the file knows it.")

    def __str__(self) -> str:
        return self.model or self.generator or ""

    def open(self, device: Any, lacks: str) -> Any:
        """The generator, in evaluation mode on ``device``.

        Args:
            device: where its weights are put.
            lacks: half a sentence on what a model that is no generator has not, for the message.

        Raises:
            ArgumentError: if it is none.
            InputError: if the user's code does not give one.
        """
        from torch import nn

        from disentangle.errors import ArgumentError
        from disentangle.io import load
        from disentangle.models import Generator, as_generator
        from disentangle.own_code import own_network
        from disentangle.signatures import described

        if self.model is not None:
            found: Any = load(self.model, device=device, generator=self.generator)
        else:
            assert self.generator is not None
            network = own_network(self.generator, what="--generator")
            found = as_generator(network, self.z_dim, built_by=self.generator)
            if isinstance(found, nn.Module):  # a generator of the protocol need not be one
                found.to(device).eval()
        if not isinstance(found, Generator):
            raise ArgumentError(f"{self} is {described(found)}, which {lacks}; expected a generator.")
        return found


def _is_model(given: str) -> bool:
    """Whether the first of MODEL PHOTOS... is a model beside --generator: a model file or a folder, never a photo."""
    return given.endswith(".safetensors") or Path(given).is_dir()


def generator_options(function: F) -> F:
    """The options ``--generator`` and ``--z-dim``, as parameters of these names."""
    code = click.option(
        "--generator", metavar="MODULE:FUNCTION",
        help="Instead of MODEL, or for its file: your own module, or file.py:function. This runs that code.",
    )  # fmt: skip
    size = click.option("--z-dim", type=click.IntRange(1), help="With --generator: length of a latent.")
    return code(size(function))


def model_argument(function: F) -> F:
    """MODEL with the options of :func:`generator_options`; the command's ``model`` is a :class:`ModelSource`."""

    @functools.wraps(function)
    def called(*args: Any, model: str | None, generator: str | None, z_dim: int | None, **kwargs: Any) -> Any:
        photos: tuple[Any, ...] | None = kwargs.get("photos")
        if generator is not None and model is not None and photos is not None and not _is_model(model):
            kwargs["photos"], model = (Path(model), *photos), None
        if model is None and generator is None:
            raise click.UsageError("Missing argument 'MODEL', or in its place --generator MODULE:FUNCTION.")
        if "photos" in kwargs and not kwargs["photos"]:
            raise click.UsageError("Missing argument 'PHOTOS...'.")
        return function(*args, model=ModelSource(model, generator, z_dim), **kwargs)

    return cast(F, click.argument("model", required=False)(generator_options(cast(Any, called))))
