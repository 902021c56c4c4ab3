"""Functions of SPD matrices by sums and products alone, for exporters that know no decomposition (ONNX has none).

Fixed numbers of steps whatever the matrix, all in float64. Relative Frobenius errors against the functions of
:mod:`disentangle.linalg.matrix_power`, for n up to 256 and a log-uniform spectrum (``tests/linalg/test_products.py``
holds them to that):

    condition number     10       1e4      1e8      1e12
    square root          2e-11    2e-11    2e-11    8e-11    of a singular matrix 7e-10
    power 0.75           2e-11    2e-11    3e-11    3e-11
    power 0.25           8e-12    8e-12    1e-11    2e-8
    logarithm            3e-11    1e-11    1e-10    2e-6

In float32 the coupled iteration diverges from a condition number of some 1e6 on, which a covariance of fewer positions
than channels has with any usual ridge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError, unknown_name
from disentangle.linalg.iterative_roots import ITERATIVE_STEPS, iterative_root
from disentangle.linalg.svd_backwards import SVD_STEPS

__all__ = ["check_products", "log_by_products", "power_by_products", "root_by_products"]

# Of Polar Express: 12 serve eigenvalues down to 1e-12 of the norm. More would amplify rounding, 30-fold for each two.
_STEPS = 12
# Steps of the repeated roots of a logarithm: after each the interval is the square root of what it was, and after the
# last one, 1e-12^(1/128), all eigenvalues lie in [0.8, 1], where 20 terms of the series leave 0.2^20 / 20.
_REPEATED = (12, 8, 6, 5, 4, 4, 4)
_TERMS = 20
_SQUARINGS, _DEGREE = 7, 13  # of the exponential of a matrix of norm at most 12 log 10: (0.22)^14 / 14! < 1e-19


def check_products(method: str) -> None:
    """Whether a method of the square root can be had by products.

    Raises:
        InputError: if it drops eigenvalues, which needs them.
    """
    if method == "svd_top_n":
        raise InputError(
            "method 'svd_top_n' drops the smallest eigenvalues, which no sum of products can; expected another method."
        )
    if method != "eigh" and method not in ITERATIVE_STEPS and method not in SVD_STEPS:
        raise unknown_name("method of the matrix root", method, ["eigh", *ITERATIVE_STEPS, *SVD_STEPS])


def root_by_products(P: Tensor, method: str = "eigh", steps: int | None = None) -> Tensor:
    """What :func:`disentangle.linalg.matrix_sqrt` gives, for float64 (..., n, n).

    Those of its methods that are iterations themselves are repeated step by step; the others have the exact root as
    their value.
    """
    check_products(method)
    if method in ITERATIVE_STEPS:
        steps = steps or ITERATIVE_STEPS[method]
    else:
        method, steps = "polar_express", _STEPS
    return iterative_root(P, method, False, P.dtype, torch.finfo(P.dtype).eps, steps, by_products=True)


def log_by_products(P: Tensor) -> Tensor:
    """What :func:`disentangle.linalg.matrix_log` gives for positive definite float64 (..., n, n).

    By inverse scaling: seven square roots one after the other, and the series of ``log(1 - e)``.
    """
    norm = P.square().sum(dim=(-2, -1), keepdim=True).sqrt()
    identity = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    return _log_of_fraction(P / norm) + norm.log() * identity


def power_by_products(P: Tensor, exponent: float) -> Tensor:
    """What :func:`disentangle.linalg.matrix_power` gives for positive definite float64 (..., n, n), exponent in (0, 1].

    ``exp(exponent log P)`` by scaling and squaring.
    """
    norm = P.square().sum(dim=(-2, -1), keepdim=True).sqrt()
    scaled = _log_of_fraction(P / norm) * (exponent / 2**_SQUARINGS)
    identity = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    power = identity + scaled / _DEGREE
    for k in range(_DEGREE - 1, 0, -1):
        power = identity + scaled @ power / k
    for _ in range(_SQUARINGS):
        power = power @ power
    return power * norm.pow(exponent)


def _log_of_fraction(A: Tensor) -> Tensor:
    """``log A`` for eigenvalues in [1e-12, 1]."""
    for steps in _REPEATED:
        A = iterative_root(A, "polar_express", False, A.dtype, torch.finfo(A.dtype).eps, steps)
    rest = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device) - A
    total = rest / _TERMS
    for k in range(_TERMS - 1, 0, -1):
        total = rest / k + rest @ total
    return total * -(2.0 ** len(_REPEATED))
