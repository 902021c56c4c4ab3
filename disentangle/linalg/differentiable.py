"""What the matrix functions with a derivative of their own share: every mode of differentiation from two formulas."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from disentangle.errors import InputError

__all__ = [
    "DifferentiableFunction",
    "are_followed",
    "are_values_visible",
    "autocast_off",
    "is_under_autocast",
    "refuse_second_derivative",
    "to_input_dtype",
]


_NOTHING = contextlib.nullcontext()


class DifferentiableFunction(torch.autograd.Function):
    """An ``autograd.Function`` that works in reverse and forward mode, under ``torch.func`` and ``torch.compile``.

    A subclass gives ``forward``, ``setup_context``, ``backward`` and, for forward mode, ``tangent``, which is what
    ``jvp`` is elsewhere. Neither derivative is touched by autocast. ``call`` takes one of three classes, since the
    compiler refuses functions that have a ``jvp``, and only ``torch.func`` needs a context of its own, which costs
    40 microseconds.
    """

    generate_vmap_rule = True
    transformed: ClassVar[type[torch.autograd.Function]]
    eager: ClassVar[type[torch.autograd.Function]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "backward" not in vars(cls):  # one of the two made below
            return
        cls.backward = staticmethod(_island(cls.backward))  # type: ignore[method-assign]
        tangent = getattr(cls, "tangent", None)
        modes: dict[str, Any] = {} if tangent is None else {"jvp": staticmethod(_island(tangent))}
        plain, setup_context = cls.forward, cls.setup_context

        def forward(ctx: Any, *inputs: Any) -> Any:
            output = plain(*inputs)
            setup_context(ctx, inputs, output)
            return output

        metaclass: Any = type(cls)
        cls.transformed = metaclass(f"{cls.__name__}Transformed", (cls,), dict(modes))
        at_once = {"forward": staticmethod(forward), "setup_context": torch.autograd.Function.setup_context}
        cls.eager = metaclass(f"{cls.__name__}Eager", (cls,), {**modes, **at_once})

    @classmethod
    def call(cls, *inputs: Any) -> Any:
        """``apply``, or ``forward`` alone where nothing follows the inputs, which saves 40 microseconds."""
        if torch.compiler.is_compiling():
            return cls.apply(*inputs)
        if torch._C._are_functorch_transforms_active():
            return cls.transformed.apply(*inputs)
        if are_followed(inputs):
            return cls.eager.apply(*inputs)
        return cls.forward(*inputs)


def are_followed(inputs: tuple[Any, ...]) -> bool:
    """Whether a derivative may be asked of what is made of these inputs, in reverse or in forward mode."""
    if forward_ad._current_level >= 0:
        return True
    if torch.is_grad_enabled():
        for value in inputs:
            if isinstance(value, Tensor) and value.requires_grad:
                return True
    return False


def are_values_visible(value: Tensor) -> bool:
    """Whether a branch may depend on numbers: not while compiling or tracing, under a transform, or without numbers."""
    hidden = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or torch.jit.is_tracing()
    return not (hidden or value.is_meta or value.numel() == 0)


def is_under_autocast(value: Tensor) -> bool:
    """Whether products of this tensor may be rounded; the meta device has no autocast, and refuses to be asked."""
    return not value.is_meta and torch.is_autocast_enabled(value.device.type)


def autocast_off(value: Tensor) -> contextlib.AbstractContextManager[Any]:
    """``torch.autocast(enabled=False)`` on the value's device, which costs 10 microseconds only where it is on."""
    if is_under_autocast(value):
        return torch.autocast(value.device.type, enabled=False)
    return _NOTHING


def _island(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a context and tensors with autocast off: a derivative may be taken inside a region too."""

    @functools.wraps(function)
    def outside(ctx: Any, first: Tensor | None, *others: Any) -> Any:
        if first is None:
            return function(ctx, first, *others)
        with autocast_off(first):
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
