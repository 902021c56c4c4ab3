"""OW, a hard orthogonal weight: a parametrisation under which a layer's weight always has an orthonormal side.

The weight of a convolution, transposed or not, is viewed as the matrix (first dimension, rest), as the treatments of
:func:`disentangle.orthogonalize` view it. (``torch.nn.utils.parametrizations.orthogonal`` sees a batch of kh x kw
matrices there, which is another constraint.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from disentangle.errors import InputError, unknown_name
from disentangle.linalg import polar
from disentangle.linalg.differentiable import autocast_off
from disentangle.nn.frames import cayley_frame, exponential_frame, householder_frame
from disentangle.nn.parametrized import parametrized
from disentangle.signatures import checks_arguments

__all__ = ["FrameMap", "orthogonal_weight"]

Method = Literal["polar", "cayley", "matrix_exp", "householder"]
METHODS = ("polar", "cayley", "matrix_exp", "householder")
Layer = TypeVar("Layer", bound=nn.Module)


@checks_arguments
def orthogonal_weight(layer: Layer, name: str = "weight", *, method: Method = "polar") -> Layer:
    """Make the shorter side of a layer's weight orthonormal, for good.

    Args:
        layer: a module with a parameter ``name`` of two dimensions or more, flattened to (first, rest).
        method: how the free parameter becomes a weight.

            ``"polar"`` (default) takes the nearest orthonormal matrix ``(G G^T)^(-1/2) G``, whose cost follows the
            shorter side. It is differentiable once: no gradient penalties through it.
            ``"cayley"``, ``"matrix_exp"`` and ``"householder"`` are maps of skew matrices and of reflections around
            the weight at the start (Lezcano-Casado, NeurIPS 2019), as torch has them; they keep a square matrix of the
            longer side.

    Returns:
        The same layer. Its weight begins as the nearest orthonormal one to what it was, and assigning ``layer.weight``
        does the same. ``layer.parametrizations.weight.original``, of the weight's shape, is what an optimizer trains
        and a treatment acts on. ``torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")`` ends it.

    The weight is computed in float64 and is orthonormal to the rounding of the layer's own type, in which it is given:
    half precision, bfloat16, float32 or float64, from the start or after a cast, under autocast too. The layer can be
    copied, pickled, compiled and exported. Layers that hold one parameter are made orthogonal one by one, and then
    share one orthogonal weight; a layer that is left out keeps the free parameter.

    Raises:
        InputError: if the method is unknown, or the layer has no such parameter, has one of fewer than two
            dimensions, of a type that is no real floating point one, or has it parametrised already; if the
            parameter is shared with a layer whose weight is made by another method.

    >>> layer = orthogonal_weight(torch.nn.Conv2d(3, 8, 3, bias=False))
    >>> flat = layer.weight.flatten(1)
    >>> bool(torch.allclose(flat @ flat.T, torch.eye(8), atol=1e-6))
    True
    """
    if method not in METHODS:
        raise unknown_name("method of an orthogonal weight", str(method), METHODS)
    kind = type(layer).__name__
    if parametrize.is_parametrized(layer, name):
        raise InputError(
            f"{name!r} of {kind} is parametrised already; end that with "
            "torch.nn.utils.parametrize.remove_parametrizations first."
        )
    parameters = dict(layer.named_parameters(recurse=False))
    if name not in parameters:
        hint = "" if parameters else "It holds no parameters itself: give the layer inside it, also of a wrapper."
        raise unknown_name(f"parameter of {kind}", name, parameters, hint=hint)
    weight = parameters[name]
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise InputError(f"{name!r} of {kind} has no shape before the first batch; run one first.")
    if weight.ndim < 2:
        raise InputError(
            f"{name!r} of {kind} has shape {tuple(weight.shape)}; expected two dimensions or more, "
            "of which the first and the rest make a matrix."
        )
    if not weight.is_floating_point():
        raise InputError(f"{name!r} of {kind} has dtype {weight.dtype}; expected a real floating point one.")
    inner = _Polar() if method == "polar" else FrameMap(method, weight.flatten(1).shape, weight.device)
    parametrized(layer, name, _Flattened(inner))
    return layer


class _Flattened(nn.Module):
    """A map of matrices, applied to a weight of any shape flattened to (first, rest)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.map = inner

    def forward(self, original: Tensor) -> Tensor:
        with autocast_off(original):
            weight: Tensor = self.map(original.flatten(1))
            return weight.reshape(original.shape)

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> Tensor:
        # From the nearest orthonormal matrix, in float64, all methods begin at the same weight.
        nearest = polar(weight.flatten(1).double(), rank_deficient="complete")
        inverse: Any = self.map.right_inverse
        original: Tensor = inverse(nearest)
        return original.reshape(weight.shape).to(weight.dtype)


class _Polar(nn.Module):
    """The polar factor. Its free parameter begins orthonormal, where the derivative's 1 / (s_i + s_j) is 1/2."""

    def forward(self, matrix: Tensor) -> Tensor:
        # "complete", so that the constraint holds even for a singular parameter
        return polar(matrix, rank_deficient="complete")

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.clone()


def _signed_householder_frame(free: Tensor) -> Tensor:
    """Each column of the frame has the sign of the free matrix's diagonal, which is nothing that could be trained."""
    # not sign(), which is zero where weight decay has worn the diagonal away
    return householder_frame(free) * torch.where(free.detach().diagonal() < 0, -1.0, 1.0)


_FRAMES: dict[str, Callable[[Tensor], Tensor]] = {
    "cayley": cayley_frame,
    "matrix_exp": exponential_frame,
    "householder": _signed_householder_frame,
}


class FrameMap(nn.Module):
    """``B f(X)`` of a free matrix X (m, n): f a map to frames that takes the first matrix to E, the identity's columns.

    B is an orthogonal matrix of the longer side, whose first columns are the weight that was assigned last.
    """

    def __init__(self, method: str, shape: torch.Size, device: torch.device | None = None) -> None:
        super().__init__()
        self.method = method
        self.map = _Base(max(shape), device)  # named as in files of torch's own maps

    def forward(self, matrix: Tensor) -> Tensor:
        wide = matrix.shape[0] < matrix.shape[1]
        frame = _FRAMES[self.method]((matrix.mT if wide else matrix).double())
        frame = (self.map.base @ frame).to(matrix.dtype)
        return frame.mT if wide else frame

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The free matrix of a weight (m, n) whose shorter side is orthonormal."""
        frame = weight.double()
        self.map.complete(frame.mT if len(frame) < frame.shape[1] else frame)
        return -torch.eye(*weight.shape, dtype=weight.dtype, device=weight.device)

    def extra_repr(self) -> str:
        return f"method={self.method!r}"


class _Base(nn.Module):
    """An orthogonal matrix that stays one to float64's rounding, whatever the module around it is cast to.

    Attributes:
        base: (n, n) float64.
    """

    base: Tensor

    def __init__(self, size: int, device: torch.device | None = None) -> None:
        super().__init__()
        self.register_buffer("base", torch.eye(size, dtype=torch.float64, device=device))

    def complete(self, frame: Tensor) -> None:
        """Take a float64 frame (n, k) as the first columns, and any others that complete it."""
        Q = torch.linalg.qr(frame, mode="complete").Q
        self.base = torch.cat([frame, Q[:, frame.shape[1] :]], dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Base:
        before = self.base
        super()._apply(fn, recurse)
        if self.base.dtype != before.dtype:
            self.base = before.to(self.base.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        loaded = state_dict.get(f"{prefix}base")
        if isinstance(loaded, Tensor) and loaded.dtype != torch.float64 and not self.base.is_meta:
            # Rounded by whoever wrote it, and by torch's own maps: four steps make half precision's rounding vanish.
            base = self.base.detach().double()
            for _ in range(4):
                base = 1.5 * base - 0.5 * (base @ base.mT) @ base
            self.base = base
