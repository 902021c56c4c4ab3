"""Square root, inverse square root, other powers and the logarithm of symmetric positive semi-definite matrices.

The meta-layers of Song, Sebe and Wang (TPAMI 2023) are these functions of a covariance: its square root is global
covariance pooling, its inverse square root whitening.

Eigenvalues carry no information below the rounding of the matrix they come from, so each function has a *floor*,
relative to the largest eigenvalue: by default n times the machine epsilon of the *input's* dtype, even where it is
computed in a wider one, since a float32 covariance is indefinite at 1e-8. The floor is a constant in the derivative.

``floor=0`` is for matrices known to be positive definite, and nothing checks that. With an eigenvalue at or below zero
there is no exception: inverse roots, negative powers and the logarithm are infinite, NaN or huge, as are the gradients
of all functions here (the values of the square root and of positive powers stay finite). Only a matrix without any
positive eigenvalue has an absolute floor that no argument takes away.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from torch import Tensor

from disentangle.errors import InputError, unknown_name
from disentangle.linalg.differentiable import are_values_visible, autocast_off
from disentangle.linalg.iterative_roots import ITERATIVE_STEPS, iterative_root
from disentangle.linalg.matrices import check_matrix
from disentangle.linalg.polar import relative_tolerance
from disentangle.linalg.spd_function import spectral_function
from disentangle.linalg.spd_root import exact_inverse_root, exact_root, floors
from disentangle.linalg.svd_backwards import SVD_STEPS

__all__ = [
    "ROOT_METHODS",
    "check_matrices",
    "cholesky_whitening",
    "matrix_inverse_sqrt",
    "matrix_log",
    "matrix_power",
    "matrix_sqrt",
]

Precision = Literal["float64", "input"]

ROOT_METHODS = ("eigh", *ITERATIVE_STEPS, *SVD_STEPS)


def matrix_sqrt(
    P: Tensor,
    method: str = "eigh",
    *,
    floor: float | None = None,
    precision: Precision = "float64",
    steps: int | None = None,
) -> Tensor:
    """``P^(1/2)`` of a batch of symmetric positive semi-definite matrices.

    Args:
        P: (..., n, n) real floating point, taken as ``(P + P^T) / 2``; any memory layout, never modified.
        method: ``"eigh"`` (default) is exact, with the closed-form derivative ``1 / (s_i + s_j)``: finite for
            repeated, zero and slightly negative eigenvalues, and differentiable twice above the floor. Approximations
            by products, see :mod:`disentangle.linalg.iterative_roots` for their errors: ``"newton_schulz"``,
            ``"isqrt_cov"``, ``"polar_express"``, ``"pade"`` (MPA), ``"taylor"`` (MTP). The published derivatives
            through the eigendecomposition, see :mod:`disentangle.linalg.svd_backwards`: ``"svd_plain"``,
            ``"svd_trunc"``, ``"svd_top_n"``, ``"svd_taylor"``, ``"svd_pade"``, ``"power_iteration"``.
        floor: of the denominators ``s_i + s_j``: twice the root of this times the largest eigenvalue; see the module's
            description for the default. The value itself has no floor. With 0 the gradient of a singular matrix is
            NaN or infinite. Not for the iterative methods.
        precision: ``"float64"`` computes in float64 whatever the dtype, ``"input"`` in the input's (float32 for half
            precision). The SVD methods are always in float64, as published.
        steps: of an approximation: iterations (Newton-Schulz 7, iSQRT-COV 5, Polar Express 9), those of the gradient
            (Padé and Taylor 8), degree (``svd_taylor`` 100), iterations (``power_iteration`` 20), dropped eigenvalues
            (``svd_top_n`` 50).

    Returns:
        (..., n, n), dtype of ``P``. A matrix with NaN or infinity gives NaN and leaves the rest of the batch alone.
        A zero matrix gives zero, with a finite gradient.

    Raises:
        InputError: if ``P`` is not a square floating point matrix or an option does not fit; for a second derivative
            at an eigenvalue below the floor, where there is none.

    >>> matrix_sqrt(torch.diag(torch.tensor([4.0, 9.0])))
    tensor([[2., 0.],
            [0., 3.]])
    """
    return _root(P, "matrix_sqrt", method, floor, precision, steps, inverse=False)


def matrix_inverse_sqrt(
    P: Tensor,
    method: str = "eigh",
    floor: float | None = None,
    *,
    precision: Precision = "float64",
    steps: int | None = None,
) -> Tensor:
    """``P^(-1/2)``: the ZCA whitening matrix of a covariance ``P``.

    Arguments, result and exceptions are those of :func:`matrix_sqrt`, except that here the floor is of the value too:
    eigenvalues below ``floor`` times the largest are raised to it, and a zero matrix gives a multiple of
    the identity, the inverse root of the machine epsilon. With ``floor=0`` nothing is raised: a singular matrix gives
    infinity or NaN, without an exception.

    >>> matrix_inverse_sqrt(torch.diag(torch.tensor([4.0, 0.25])))
    tensor([[0.5000, 0.0000],
            [0.0000, 2.0000]])
    """
    return _root(P, "matrix_inverse_sqrt", method, floor, precision, steps, inverse=True)


def matrix_power(P: Tensor, exponent: float, *, floor: float | None = None) -> Tensor:
    """``P^exponent`` for an exponent in [-1, 1].

    Args:
        P: (..., n, n), see :func:`matrix_sqrt`. Computed in float64.
        exponent: from -1 to 1, not 0.
        floor: smallest eigenvalue that counts, relative to the largest; see the module's description. Of the derivative
            only for a positive exponent (a power of zero is zero), of the value too for a negative one. With 0 a
            singular matrix has a gradient of NaN or infinity, and for a negative exponent such a value, without an
            exception.

    Returns:
        (..., n, n), dtype of ``P``. The derivative is the closed form with divided differences that hold for equal and
        close eigenvalues; a second derivative raises.

    Raises:
        InputError: if ``P`` is not a square floating point matrix or the exponent is out of range.

    >>> matrix_power(torch.diag(torch.tensor([16.0, 81.0])), 0.25)
    tensor([[2., 0.],
            [0., 3.]])
    """
    if not (isinstance(exponent, (int, float)) and math.isfinite(exponent) and 0 < abs(exponent) <= 1):
        raise InputError(f"exponent is {exponent!r}; expected a number from -1 to 1 that is not 0.")
    return _function(P, "matrix_power", float(exponent), floor)


def matrix_log(P: Tensor, *, floor: float | None = None) -> Tensor:
    """The logarithm of a matrix; eigenvalues below the floor are raised to it. Otherwise as :func:`matrix_power`.

    With ``floor=0`` nothing is raised: a singular matrix gives infinity or NaN, without an exception.

    >>> matrix_log(torch.eye(2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    return _function(P, "matrix_log", 0.0, floor)


def cholesky_whitening(P: Tensor, *, floor: float | None = None) -> Tensor:
    """``L^(-1)`` for ``P = L L^T``: the cheapest whitening matrix, lower triangular, so it depends on the order.

    Args:
        P: (..., n, n), see :func:`matrix_sqrt`. Computed in float64.
        floor: a matrix that has no Cholesky factor gets a ridge, with which its smallest eigenvalue is about this times
            the largest (the machine epsilon where that is zero); see the module's description for the default. With 0
            a singular matrix gives infinity, NaN or what rounding makes of it, without an exception.

    Returns:
        (..., n, n), dtype of ``P``; NaN for a matrix with NaN or infinity. Differentiable to any order.

    Raises:
        InputError: if ``P`` is not a square floating point matrix.
    """
    check_matrices(P, "cholesky_whitening")
    relative, absolute = _floors(P.dtype, P.shape[-1], floor)
    with autocast_off(P):
        identity = torch.eye(P.shape[-1], dtype=torch.float64, device=P.device)
        wide = P.double()
        wide = 0.5 * (wide + wide.mT)
        poison = (wide.detach() * 0).sum(dim=(-2, -1), keepdim=True)  # NaN where P is not finite
        wide = torch.where(poison.isnan(), identity, wide)
        factor, failed = torch.linalg.cholesky_ex(wide)
        if not are_values_visible(failed) or bool(failed.any()):
            l = torch.linalg.eigvalsh(wide.detach())
            ridge = floors(l, relative, absolute).squeeze(-1) - l[..., 0].clamp_max(0)
            ridge = torch.where(failed > 0, ridge, 0.0)
            factor, _ = torch.linalg.cholesky_ex(wide + ridge[..., None, None] * identity)
        return (torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False) + poison).to(P.dtype)


# ---------------------------------------------------------------------------------------------------------- dispatch


def _root(
    P: Tensor, name: str, method: str, floor: float | None, precision: str, steps: int | None, *, inverse: bool
) -> Tensor:
    check_matrices(P, name)
    # A layer asks the same at each step; remembered, a small root is 3 % faster. The compiler follows no memory.
    options = _root_options if torch.compiler.is_compiling() else _remembered_root_options
    working, relative, absolute = options(P.dtype, P.shape[-1], method, floor, precision, steps)
    with autocast_off(P):
        if method == "eigh":
            exact = exact_inverse_root if inverse else exact_root
            root = exact(P, working, relative, absolute)
        elif method in ITERATIVE_STEPS:
            root = iterative_root(P, method, inverse, working, absolute, steps or ITERATIVE_STEPS[method])
        else:
            exponent = -0.5 if inverse else 0.5
            terms = steps or SVD_STEPS[method] or 0
            root = spectral_function(P, torch.float64, relative, absolute, exponent, method, terms)
        return root if root.dtype == P.dtype else root.to(P.dtype)


def _root_options(
    dtype: torch.dtype, n: int, method: str, floor: float | None, precision: str, steps: int | None
) -> tuple[torch.dtype, float, float]:
    """Working dtype and the two floors, from checked options."""
    if method not in ROOT_METHODS:
        raise unknown_name("method of the matrix root", str(method), ROOT_METHODS)
    if precision not in ("float64", "input"):
        raise InputError(f"precision is {precision!r}; expected 'float64' or 'input'.")
    if steps is not None and (method == "eigh" or not 1 <= steps <= 1000):
        raise InputError(f"steps is {steps} with method {method!r}; expected 1 to 1000, and none for 'eigh'.")
    if floor is not None and method in ITERATIVE_STEPS:
        raise InputError(f"floor is {floor} with method {method!r}, which has none; leave it out.")
    working = torch.float64 if precision == "float64" or dtype == torch.float64 else torch.float32
    return working, *_floors(dtype, n, floor)


_remembered_root_options = functools.lru_cache(_root_options)


def _function(P: Tensor, name: str, exponent: float, floor: float | None) -> Tensor:
    check_matrices(P, name)
    relative, absolute = _floors(P.dtype, P.shape[-1], floor)
    with autocast_off(P):
        return spectral_function(P, torch.float64, relative, absolute, exponent, "exact", 0).to(P.dtype)


def check_matrices(P: Tensor, name: str) -> None:
    """Raise ``InputError`` where ``P`` is no batch of square floating point matrices, as the argument of ``name``."""
    check_matrix(P, name, square=True)


def _floors(dtype: torch.dtype, n: int, floor: float | None) -> tuple[float, float]:
    """The relative floor, and the absolute one of a matrix without a positive eigenvalue."""
    if floor is not None and not 0 <= floor < 1:
        raise InputError(f"floor is {floor!r}; expected a share of the largest eigenvalue, from 0 to 1.")
    return relative_tolerance(dtype, n) if floor is None else floor, torch.finfo(dtype).eps
