"""Latent projections: the layers that carry a latent into features."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.linalg.differentiable import autocast_off
from disentangle.nn.derived import Derived
from disentangle.nn.frames import householder_frame, leading_frames, reflectors_of_frame

__all__ = ["HouseholderProjection", "SubspaceProjection"]


class SubspaceProjection(nn.Module):
    """EigenGAN's linear subspace of a feature space: ``phi(z) = (L * z) U + mu``.

    Source: He, Kan, Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs", ICCV 2021, equation 1.

    Args:
        basis: number of directions k, at most ``features``.
        features: dimension of the feature space.

    Attributes:
        U: (k, features) basis, rows orthonormal at the start.
        L: (k,) importance of each direction, 3k, 3(k-1), ..., 3 at the start.
        mu: (features,) origin of the subspace.
    """

    def __init__(self, basis: int, features: int) -> None:
        super().__init__()
        self.U = nn.Parameter(nn.init.orthogonal_(torch.empty(basis, features)))
        self.L = nn.Parameter(3.0 * torch.arange(basis, 0, -1, dtype=torch.float32))
        self.mu = nn.Parameter(torch.zeros(features))

    def forward(self, z: Tensor) -> Tensor:
        """(n, k) coordinates to (n, features)."""
        return torch.addmm(self.mu, self.L * z, self.U)

    def matrix(self) -> Tensor:
        """(features, k): the linear map from coordinates to features, ``U^T diag(L)``."""
        return (self.L.unsqueeze(1) * self.U).mT

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Give to ``R z`` the point that z had: the rows of ``R diag(L) U``, their lengths in L and the rest in U.

        ``rotation`` is (k, k), float64, on the CPU. Afterwards the rows of U have length one but are no longer
        orthogonal, unless all entries of L were equal: a rotation of coordinates with different importances is no
        rotation of the basis.
        """
        U, L = self.U.to("cpu", torch.float64), self.L.to("cpu", torch.float64)
        rows = rotation @ (L[:, None] * U)
        lengths = rows.norm(dim=1)
        unit = rows / lengths.clamp(min=torch.finfo(rows.dtype).tiny)[:, None]
        self.U.copy_(torch.where(lengths[:, None] > 0, unit, U))
        self.L.copy_(lengths)

    def extra_repr(self) -> str:
        return f"basis={self.U.shape[0]}, features={self.U.shape[1]}"


class HouseholderProjection(nn.Module):
    """Linear layer of weight ``H(U) S H(V)``: orthogonal of rank k, whatever an optimizer does to U and V.

    H multiplies the reflections along the columns of its argument (:func:`disentangle.nn.frames.householder_frame`), of
    which only the first k columns, and for V rows, meet the k entries of S.

    Source: Song, Zhang, Sebe, Wang, "Householder Projector for Unsupervised Latent Semantics Discovery", ICCV 2023.

    Args:
        inputs, outputs: dimensions; any, equal or not.
        rank: k, at most the smaller of the two.
        order: ``"usv"``; ``"vsu"`` computes ``H(V) S H(U)`` where inputs and outputs are equal.
        bias: value the bias starts at.

    Attributes:
        U: (outputs, rank) reflectors; entries on and above the diagonal have no effect.
        V: (inputs, rank) reflectors.
        S: (rank,) singular values with their signs: +1 or -1, no parameter.
        bias: (outputs,).

    Raises:
        InputError: if the rank does not fit or the order is unknown.

    >>> layer = HouseholderProjection.from_weight(torch.diag(torch.tensor([3.0, -2.0, 1.0])), rank=2)
    >>> layer.matrix().round(decimals=4) + 0
    tensor([[ 1.,  0.,  0.],
            [ 0., -1.,  0.],
            [ 0.,  0.,  0.]], grad_fn=<AddBackward0>)
    """

    S: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, rank: int = 10, order: Literal["usv", "vsu"] = "usv", bias: float = 0.0
    ) -> None:
        super().__init__()
        if not 1 <= rank <= min(inputs, outputs):
            raise InputError(
                f"rank is {rank}; expected 1 to {min(inputs, outputs)} for {inputs} to {outputs} features."
            )
        if order not in ("usv", "vsu"):
            raise InputError(f"order is {order!r}; expected 'usv' or 'vsu'.")
        self.U = nn.Parameter(torch.empty(outputs, rank))
        self.V = nn.Parameter(torch.empty(inputs, rank))
        self.register_buffer("S", torch.ones(rank))
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))
        self.rank, self.order = rank, order
        self._built = Derived()
        self.fit(torch.randn(outputs, inputs))

    @classmethod
    def from_weight(
        cls, weight: Tensor, rank: int = 10, *, order: Literal["usv", "vsu"] = "usv", bias: Tensor | None = None
    ) -> HouseholderProjection:
        """The layer whose weight is the nearest to a given one of those of its rank with singular values of one.

        Args:
            weight: (outputs, inputs).
            rank: k.
            order: of the factors.
            bias: (outputs,), zeros by default.

        Raises:
            InputError: if the weight is no matrix or the rank does not fit.
        """
        if weight.ndim != 2:
            raise InputError(f"weight has shape {tuple(weight.shape)}; expected (outputs, inputs).")
        outputs, inputs = weight.shape
        layer = cls(inputs, outputs, rank=rank, order=order).to(weight)
        layer.fit(weight)
        if bias is not None:
            with torch.no_grad():
                layer.bias.copy_(bias)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) to (n, outputs)."""
        return F.linear(x, self.matrix(), self.bias)

    def matrix(self) -> Tensor:
        """(outputs, inputs): the weight, kept while U, V and S stay the same and need no gradient.

        Orthonormal to the rounding of the layer's type: the product is computed in float64, under autocast too.
        """
        return self._built(self._product, self.U, self.V, self.S)

    @torch.no_grad()
    def fit(self, weight: Tensor) -> None:
        """Make the layer pass the leading singular directions of a (outputs, inputs) weight, all equally strongly.

        Raises:
            InputError: if the weight has another shape.
        """
        if weight.shape != (len(self.U), len(self.V)):
            raise InputError(f"weight has shape {tuple(weight.shape)}; expected ({len(self.U)}, {len(self.V)}).")
        left, right = leading_frames(weight, self.rank)
        (first, first_signs), (last, last_signs) = reflectors_of_frame(left), reflectors_of_frame(right)
        outer, inner = self._sides(self.U, self.V)
        outer.copy_(first)
        inner.copy_(last)
        self.S.copy_(first_signs * last_signs)

    @torch.no_grad()
    def basis(self) -> Tensor:
        """(rank, inputs) orthonormal rows: the directions of the input that the layer passes, one by one.

        Their singular values are all 1, so no singular value decomposition could tell them from a rotation of them.
        """
        _, inner = self._sides(self.U, self.V)
        with autocast_off(inner):
            return self.S[:, None] * householder_frame(inner).mT

    @torch.no_grad()
    def bake(self) -> nn.Linear:
        """A plain layer of the same weight and bias."""
        plain = nn.Linear(len(self.V), len(self.U), device=self.U.device, dtype=self.U.dtype)
        plain.weight.copy_(self.matrix())
        plain.bias.copy_(self.bias)
        return plain

    def _product(self, U: Tensor, V: Tensor, S: Tensor) -> Tensor:
        outer, inner = self._sides(U, V)
        with autocast_off(U):
            product = (householder_frame(outer.double()) * S) @ householder_frame(inner.double()).mT
            return product.to(U.dtype)

    def _sides(self, U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """The reflectors on the side of the outputs, and of the inputs."""
        return (V, U) if self.order == "vsu" and len(U) == len(V) else (U, V)

    def extra_repr(self) -> str:
        return f"{len(self.V)}, {len(self.U)}, rank={self.rank}, order={self.order!r}"
