"""What the matrix functions with a derivative of their own share: every mode of differentiation from two formulas."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from disentangle.errors import InputError

__all__ = ["DifferentiableFunction", "are_values_visible", "refuse_second_derivative", "to_input_dtype"]


class DifferentiableFunction(torch.autograd.Function):
    """An ``autograd.Function`` that works in reverse and forward mode, under ``torch.func`` and ``torch.compile``.

    A subclass gives ``forward``, ``setup_context``, ``backward`` and ``tangent``, the last being what ``jvp`` is
    elsewhere: the compiler refuses functions that have a ``jvp``, so that one is only defined on a twin of the class,
    which ``call`` takes where nothing is being compiled. Neither derivative is touched by autocast.
    """

    generate_vmap_rule = True
    twin: ClassVar[type[torch.autograd.Function]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "tangent" not in vars(cls):  # the twin itself
            return
        # `apply` asks for the signature at every call, which takes 10 microseconds if it is not at hand.
        cls.forward.__signature__ = inspect.signature(cls.forward)  # type: ignore[attr-defined]
        cls.backward = staticmethod(_island(cls.backward))  # type: ignore[method-assign]
        jvp = staticmethod(_island(cls.tangent))  # type: ignore[attr-defined]
        metaclass: Any = type(cls)
        cls.twin = metaclass(f"{cls.__name__}WithJvp", (cls,), {"jvp": jvp})

    @classmethod
    def call(cls, *inputs: Any) -> Any:
        """``apply``, or ``forward`` alone where nothing follows the inputs, which saves 40 microseconds."""
        if torch.compiler.is_compiling():
            return cls.apply(*inputs)
        if _are_followed(inputs):
            return cls.twin.apply(*inputs)
        return cls.forward(*inputs)


def _are_followed(inputs: tuple[Any, ...]) -> bool:
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in inputs)


def are_values_visible(value: Tensor) -> bool:
    """Whether a branch may depend on numbers: not while compiling, under a transform, or without any numbers."""
    hidden = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    return not (hidden or value.is_meta or value.numel() == 0)


def _island(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a context and tensors with autocast off: a derivative may be taken inside a region too."""

    @functools.wraps(function)
    def outside(ctx: Any, first: Tensor | None, *others: Any) -> Any:
        if first is None or not torch.is_autocast_enabled(first.device.type):
            return function(ctx, first, *others)
        with torch.autocast(first.device.type, enabled=False):
            return function(ctx, first, *others)

    return outside


def to_input_dtype(grad: Tensor, dtype: torch.dtype) -> Tensor:
    """A gradient that was computed in a wider dtype.

    A float32 one is held at the largest number, so that the step after ``P ~ 1e-30`` is finite. Half precision may
    overflow to infinity, which is what a gradient scaler looks for.
    """
    if grad.dtype == dtype:
        return grad
    if dtype == torch.float32:
        largest = torch.finfo(dtype).max
        grad = grad.clamp(-largest, largest)
    return grad.to(dtype)


def refuse_second_derivative(refused: Tensor, name: str) -> Tensor:
    """0, or NaN where ``refused`` (...): raises at once, except where a transform or the compiler hides the values."""
    if are_values_visible(refused) and bool(refused.any()):
        raise InputError(
            f"the second derivative of {name} was asked for a matrix with an eigenvalue at or below its floor, where "
            f"it does not exist; add a ridge to the matrix or lower the floor."
        )
    return torch.where(refused, float("nan"), 0.0)[..., None, None]
