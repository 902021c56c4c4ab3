"""A weight of a fixed rank whose singular values are all one, as a parametrisation of any layer's weight."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from disentangle.linalg import polar
from disentangle.linalg.differentiable import autocast_off
from disentangle.nn.derived import Derived
from disentangle.nn.frames import householder_frame, leading_frames, reflectors_of_frame
from disentangle.nn.orthogonal import FrameMap

__all__ = ["LowRankOrthogonal"]

Kind = Literal["householder", "cayley", "matrix_exp", "polar"]


class LowRankOrthogonal(nn.Module):
    """``L diag(S) R^T`` of frames L (m, k) and R (n, k), for ``torch.nn.utils.parametrize``; a weight is (m, n).

    Each frame is a function of a free matrix of its own shape: a product of reflections (Song et al., "Householder
    Projector for Unsupervised Latent Semantics Discovery", ICCV 2023), a map of skew matrices, or the polar factor.
    Computed in float64 and given in the type of the free matrices.

    Args:
        kind: which function.
        shape: of the weight, two dimensions or more.
        rank: k.
        fit: start at the nearest such weight to the layer's own; else anywhere.

    Attributes:
        S: (k,) signs, which no optimizer moves.
    """

    S: Tensor

    def __init__(self, kind: Kind, shape: torch.Size, rank: int, *, fit: bool = True) -> None:
        super().__init__()
        self.kind, self.shape, self.rank, self.fit = kind, shape, rank, fit
        self.register_buffer("S", torch.ones(rank))
        self.sides = nn.ModuleList(_frame_map(kind, side, rank) for side in (shape[0], shape[1:].numel()))
        self._built = Derived()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """The weight; kept as long as nothing changes where no gradient is wanted."""
        return self._built(lambda *_: self._weight(left, right), left, right, *self.buffers())

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The free matrices (m, k) and (n, k) of the nearest weight of rank k with singular values of one."""
        flat = weight.detach().flatten(1)
        if flat.is_meta:  # nothing is decomposed there, and torch would take a failure for a map without an inverse
            return flat.new_empty(len(flat), self.rank), flat.new_empty(flat.shape[1], self.rank)
        if self.fit:
            frames = leading_frames(flat, self.rank)
        else:
            left, right = (torch.linalg.qr(flat.new_empty(n, self.rank).normal_()).Q for n in flat.shape)
            frames = left, right
        sides: list[Any] = list(self.sides)
        (left, left_signs), (right, right_signs) = (side.inverse(f) for side, f in zip(sides, frames, strict=True))
        self.S = (left_signs * right_signs).to(weight)
        return left.to(weight), right.to(weight)

    def basis(self, free: Tensor, side: Literal["left", "right"]) -> Tensor:
        """(k, m) or (k, n) orthonormal rows that the weight passes, from that side's free matrix; row i to row i.

        All singular values are one, so that no decomposition could tell these rows from a rotation of them.
        """
        with torch.no_grad(), autocast_off(free):
            return (self.S[:, None] * self.sides[side == "right"](free.double()).mT).to(free.dtype)

    def _weight(self, left: Tensor, right: Tensor) -> Tensor:
        with autocast_off(left):
            product = (self.sides[0](left.double()) * self.S) @ self.sides[1](right.double()).mT
            return product.reshape(self.shape).to(left.dtype)

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}, rank={self.rank}"


class _Householder(nn.Module):
    def forward(self, free: Tensor) -> Tensor:
        return householder_frame(free)

    def inverse(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        return reflectors_of_frame(frame)


class _Polar(nn.Module):
    def forward(self, free: Tensor) -> Tensor:
        return polar(free, rank_deficient="complete")

    def inverse(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        return frame, torch.ones_like(frame[0])


class _Mapped(nn.Module):
    """A map of skew matrices around the frame at the start."""

    def __init__(self, kind: str, n: int, k: int) -> None:
        super().__init__()
        self.map = FrameMap(kind, torch.Size((n, k)))

    def forward(self, free: Tensor) -> Tensor:
        frame: Tensor = self.map(free)
        return frame

    def inverse(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        return self.map.right_inverse(frame), torch.ones_like(frame[0])


def _frame_map(kind: Kind, n: int, k: int) -> nn.Module:
    if kind == "householder":
        return _Householder()
    return _Polar() if kind == "polar" else _Mapped(kind, n, k)
