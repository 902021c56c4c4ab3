"""What the functions of this folder ask of a matrix, and how far its shorter side is from orthonormal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.text import shown

__all__ = ["check_matrix", "excess", "shorter_side_first"]

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COMPLEX = (torch.complex64, torch.complex128)


def check_matrix(
    value: Any, name: str, *, square: bool = False, may_be_complex: bool = False, sides: str = "(..., m, n)"
) -> None:
    """Refuse what is no batch of matrices of numbers that can be decomposed.

    Args:
        value: of any type.
        name: of the function that was called with it.
        square: whether both sides must be equal.
        may_be_complex: whether the function has a meaning for complex matrices.
        sides: what the dimensions are, for the message.

    Raises:
        InputError: if it is no dense tensor (..., m, n) of a floating point dtype that linear algebra knows.
    """
    shape = "square matrices (..., n, n)" if square else f"a tensor {sides}"
    if not isinstance(value, Tensor):
        raise InputError(f"{name} got an argument of type {shown(type(value).__name__)}; expected {shape}.")
    if value.layout != torch.strided or value.is_quantized:
        raise InputError(f"{name} got a sparse or quantised tensor; expected a dense one, {shape}.")
    if value.ndim < 2 or (square and value.shape[-1] != value.shape[-2]):
        raise InputError(f"{name} got an argument of shape {tuple(value.shape)}; expected {shape}.")
    if value.dtype not in _REAL and not (may_be_complex and value.dtype in _COMPLEX):
        kind = "real or complex" if may_be_complex else "real"
        raise InputError(f"{name} got dtype {value.dtype}; expected a {kind} floating point tensor of 16 bits or more.")


def shorter_side_first(X: Tensor) -> Tensor:
    """(..., m, n) as (..., min(m, n), max(m, n)), a view."""
    return X.mT if X.shape[-2] > X.shape[-1] else X


def excess(X: Tensor) -> Tensor:
    """``X X^H - I`` of (..., r, n), (..., r, r): zero where the rows are orthonormal.

    >>> excess(2 * torch.eye(1, 3))
    tensor([[3.]])
    """
    return X @ X.mH - torch.eye(X.shape[-2], dtype=X.dtype, device=X.device)
