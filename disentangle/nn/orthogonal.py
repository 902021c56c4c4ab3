"""OW, a hard orthogonal weight: a parametrisation under which a layer's weight always has an orthonormal side.

The weight of a convolution, transposed or not, is viewed as the matrix (first dimension, rest), as the treatments of
:func:`disentangle.orthogonalize` view it. (``torch.nn.utils.parametrizations.orthogonal`` sees a batch of kh x kw
matrices there, which is another constraint.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from disentangle.errors import InputError, unknown_name
from disentangle.linalg import polar

__all__ = ["orthogonal_weight", "torch_frame_map"]

Method = Literal["polar", "cayley", "matrix_exp", "householder"]
METHODS = ("polar", "cayley", "matrix_exp", "householder")
Layer = TypeVar("Layer", bound=nn.Module)


def orthogonal_weight(layer: Layer, name: str = "weight", *, method: Method = "polar") -> Layer:
    """Make the shorter side of a layer's weight orthonormal, for good.

    Args:
        layer: a module with a parameter ``name`` of two dimensions or more, flattened to (first, rest).
        method: how the free parameter becomes a weight.

            ``"polar"`` (default) takes the nearest orthonormal matrix ``(G G^T)^(-1/2) G``, whose cost follows the
            shorter side. It is differentiable once: no gradient penalties through it.
            ``"cayley"``, ``"matrix_exp"`` and ``"householder"`` are torch's maps around the weight at the start
            (Lezcano-Casado, NeurIPS 2019); for the first two they work on a square matrix of the longer side.

    Returns:
        The same layer. Its weight begins as the nearest orthonormal one to what it was, and assigning ``layer.weight``
        does the same. ``layer.parametrizations.weight.original``, of the weight's shape, is what an optimizer trains
        and a treatment acts on. ``torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")`` ends it.

    Raises:
        InputError: if the method is unknown, or the layer has no such parameter, has one of fewer than two
            dimensions, or has it parametrised already.

    >>> layer = orthogonal_weight(torch.nn.Conv2d(3, 8, 3, bias=False))
    >>> flat = layer.weight.flatten(1)
    >>> bool(torch.allclose(flat @ flat.T, torch.eye(8), atol=1e-6))
    True
    """
    if method not in METHODS:
        raise unknown_name("method of an orthogonal weight", str(method), METHODS)
    if parametrize.is_parametrized(layer, name):
        raise InputError(
            f"{name!r} of {type(layer).__name__} is parametrised already; end that with "
            "torch.nn.utils.parametrize.remove_parametrizations first."
        )
    parameters = dict(layer.named_parameters(recurse=False))
    if name not in parameters:
        raise unknown_name(f"parameter of {type(layer).__name__}", name, parameters)
    weight = parameters[name]
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise InputError(f"{name!r} of {type(layer).__name__} has no shape before the first batch; run one first.")
    if weight.ndim < 2:
        raise InputError(
            f"{name!r} of {type(layer).__name__} has shape {tuple(weight.shape)}; expected two dimensions or more, "
            "of which the first and the rest make a matrix."
        )
    inner: nn.Module = _Polar() if method == "polar" else torch_frame_map(weight, method)
    parametrize.register_parametrization(layer, name, _Flattened(inner), unsafe=True)
    return layer


class _Flattened(nn.Module):
    """A map of matrices, applied to a weight of any shape flattened to (first, rest)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.map = inner

    def forward(self, original: Tensor) -> Tensor:
        weight: Tensor = self.map(original.flatten(1))
        return weight.reshape(original.shape)

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> Tensor:
        # From the nearest orthonormal matrix all methods begin at the same weight; torch's would take a QR factor.
        nearest = polar(weight.flatten(1), rank_deficient="complete")
        inverse: Any = self.map.right_inverse
        original: Tensor = inverse(nearest)
        return original.reshape(weight.shape)


class _Polar(nn.Module):
    """The polar factor. Its free parameter begins orthonormal, where the derivative's 1 / (s_i + s_j) is 1/2."""

    def forward(self, matrix: Tensor) -> Tensor:
        # "complete", so that the constraint holds even for a singular parameter
        return polar(matrix, rank_deficient="complete")

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.clone()


class _TorchMap(nn.Module):
    """One of torch's maps, with two of its traps closed.

    To assign, it completes a frame to a square matrix with random numbers: here they are fixed ones. And Householder's
    signs are the diagonal of the free parameter cut to integers, so that weight decay turns -1 into 0.
    """

    def __init__(self, inner: nn.Module, signed: bool) -> None:
        super().__init__()
        self.map = inner
        self.signed = signed

    def forward(self, matrix: Tensor) -> Tensor:
        if self.signed:
            matrix = torch.diagonal_scatter(matrix, matrix.detach().diagonal().sign())
        weight: Tensor = self.map(matrix)
        return weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        inverse: Any = self.map.right_inverse
        with _fixed_random_numbers(weight.device):
            original: Tensor = inverse(weight)
        return original


@contextmanager
def _fixed_random_numbers(device: torch.device) -> Iterator[None]:
    """The same numbers inside whatever came before, and the global state outside as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def torch_frame_map(weight: Tensor, method: str) -> nn.Module:
    """One of torch's maps of (m, ...) weights, which torch builds only together with a parametrised module."""
    holder = nn.Module()
    holder.weight = nn.Parameter(weight.detach().flatten(1).clone())
    with _fixed_random_numbers(weight.device):
        parametrizations.orthogonal(holder, "weight", orthogonal_map=method)
    torch_map: Any = holder.parametrizations["weight"][0]  # type: ignore[index]
    return _TorchMap(torch_map, signed=method == "householder")
