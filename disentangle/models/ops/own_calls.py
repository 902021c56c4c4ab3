"""How a network of the user's takes its latents and its classes, found by trying: its code is not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import DisentangleError, InputError, reason

__all__ = ["OwnCall", "find_call"]


class OwnCall:
    """A callable of latents and, after them, perhaps of classes.

    Args:
        run: the callable.
        classes: what its second argument is: ``"none"`` there is none, ``"empty"`` it is None, ``"numbers"`` the (n,)
            numbers of the classes, ``"weights"`` (n, c_dim) one-hot rows.
        shape: of one latent there, as (z_dim, 1, 1); () leaves latents as they are.
    """

    def __init__(self, run: Callable[..., Any], classes: str, shape: tuple[int, ...] = ()) -> None:
        self.run, self.classes, self.shape = run, classes, shape

    def __call__(self, latents: Tensor, classes: Tensor | None = None) -> Any:
        """``classes`` are (n, c_dim) weights, one-hot but for mixtures."""
        if self.shape:
            latents = latents.reshape(len(latents), *self.shape)
        if self.classes == "none":
            return self.run(latents)
        if self.classes == "empty" or classes is None:
            return self.run(latents, None)
        if self.classes == "weights":
            return self.run(latents, classes.to(latents))
        numbers = classes.argmax(1)
        if not torch.equal(torch.nn.functional.one_hot(numbers, classes.shape[1]).to(classes), classes):
            raise InputError("this network takes the number of a class, so classes cannot be mixed; give one.")
        return self.run(latents, numbers.to(latents.device))


def find_call(
    run: Callable[..., Any], latents: Tensor, c_dim: int, *, shapes: tuple[tuple[int, ...], ...], what: str
) -> tuple[OwnCall, Any]:
    """The way of calling that works, and what came of it.

    Args:
        run: the user's.
        latents: (n, size) to try it on.
        c_dim: classes, 0 for none.
        shapes: that one latent may have there, the likeliest first.
        what: it is, for the message, as "The module".

    Raises:
        InputError: if none does, with the reason of the first.
    """
    ways = ("numbers", "weights") if c_dim else ("none", "empty")
    classes = None
    if c_dim:
        classes = torch.nn.functional.one_hot(torch.arange(len(latents)) % c_dim, c_dim)
    first: Exception | None = None
    for shape in shapes:
        for way in ways:
            call = OwnCall(run, way, shape)
            try:
                return call, call(latents, classes)
            except (MemoryError, DisentangleError):
                raise
            except Exception as error:  # the code is the user's: whatever it raises
                first = first or error
    assert first is not None
    given = f"({len(latents)}, {', '.join(map(str, shapes[0]))})"
    kinds = f" and {c_dim} classes, as numbers or as one-hot rows" if c_dim else ""
    raise InputError(f"{what} does not accept latents of shape {given}{kinds}: {reason(first)}.") from first
